-- What the owner of the database does for an application, and what the scenario needs beyond that.
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app;
GRANT SELECT, INSERT ON account_event TO app;

-- The store is off.
CREATE ROLE app_off LOGIN IN ROLE app;
ALTER ROLE app_off SET snapshot_store.enabled = off;

-- A save fails.
CREATE ROLE app_reader LOGIN;
GRANT SELECT ON snapshot_store TO app_reader;
GRANT SELECT, INSERT ON account_event TO app_reader;

-- Somebody else always appends to these accounts a moment earlier.
CREATE FUNCTION be_earlier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO account_event VALUES (NEW.*);
	RETURN NEW;
END
$$;
CREATE TRIGGER be_earlier BEFORE INSERT ON account_event FOR EACH ROW
	WHEN (starts_with(NEW.stream_id, 'account-raced') AND pg_trigger_depth() = 0)
	EXECUTE FUNCTION be_earlier();
