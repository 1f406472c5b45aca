-- Describes the extension and everything that depends on it, a line for each thing, so that
-- two installations can be compared line by line. The order of options and of grants does not
-- count. Of each row in a catalog it takes all columns but those that are a matter of the
-- installation: OIDs, which names and definitions stand for, transaction numbers, and
-- statistics. Nor does it take the column option pg_attver, in which PostgreSQL 15.20 keeps a
-- number of its own for each table, and which its pg_dump leaves out. A column that was dropped
-- shows in the number of columns alone, since pg_upgrade makes something else of it.
SET search_path = pg_catalog;
WITH RECURSIVE depends (classid, objid, objsubid) AS (
    SELECT tableoid, oid, 0 FROM pg_extension WHERE extname = 'snapshot_store'
    UNION
    SELECT d.classid, d.objid, d.objsubid FROM pg_depend AS d
    JOIN depends AS o ON (d.refclassid, d.refobjid) = (o.classid, o.objid)
), object AS (
    SELECT DISTINCT classid, objid AS id FROM depends
), passed_over AS (
    SELECT attname::text AS name FROM pg_attribute
    WHERE atttypid IN ('oid'::regtype, 'oid[]'::regtype, 'oidvector'::regtype, 'xid'::regtype, 'pg_node_tree'::regtype)
    UNION
    SELECT unnest('{relpages,reltuples,relallvisible,relallfrozen}'::text[])
)
SELECT regexp_replace(concat_ws(' ', pg_describe_object(classid, id, part), definition, content), '(pg_toast_)\d+|\s+', '\1 ', 'g')
           COLLATE "C" AS line
FROM object AS o
CROSS JOIN LATERAL (
    SELECT 0, to_jsonb(e), concat_ws(' ', extowner::regrole, extnamespace::regnamespace, extconfig::regclass[])
    FROM pg_extension AS e WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(c), concat_ws(' ', relowner::regrole, pg_get_expr(relpartbound, oid))
    FROM pg_class AS c WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT attnum, to_jsonb(a) || jsonb_build_object('attoptions', (SELECT jsonb_agg(p) FROM unnest(attoptions) AS p WHERE p NOT LIKE 'pg\_attver=%')),
           concat_ws(' ', format_type(atttypid, atttypmod), attcollation::regcollation)
    FROM pg_attribute AS a WHERE ('pg_class'::regclass, attrelid) = (classid, id) AND NOT attisdropped
    UNION ALL
    SELECT 0, to_jsonb(i), pg_get_indexdef(indexrelid)
    FROM pg_index AS i WHERE ('pg_class'::regclass, indexrelid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(d), pg_get_expr(adbin, adrelid)
    FROM pg_attrdef AS d WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(c), pg_get_constraintdef(oid)
    FROM pg_constraint AS c WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(f), concat_ws(' ', proowner::regrole, CASE WHEN prokind <> 'a' THEN pg_get_functiondef(oid) END)
    FROM pg_proc AS f WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(t), typowner::regrole::text
    FROM pg_type AS t WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(c), castfunc::regprocedure::text
    FROM pg_cast AS c WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(t), pg_get_triggerdef(oid)
    FROM pg_trigger AS t WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(r), pg_get_ruledef(oid)
    FROM pg_rewrite AS r WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(p), concat_ws(' ', polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy AS p WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT 0, to_jsonb(s), concat_ws(' ', stxowner::regrole, pg_get_statisticsobjdef(oid))
    FROM pg_statistic_ext AS s WHERE (tableoid, oid) = (classid, id)
    UNION ALL
    SELECT objsubid, to_jsonb(d), NULL
    FROM pg_description AS d WHERE (classoid, objoid) = (classid, id)
    UNION ALL
    SELECT objsubid, to_jsonb(l), NULL
    FROM pg_seclabel AS l WHERE (classoid, objoid) = (classid, id)
    UNION ALL
    SELECT objsubid, to_jsonb(p), NULL
    FROM pg_init_privs AS p WHERE (classoid, objoid) = (classid, id)
    UNION ALL
    SELECT objsubid, to_jsonb(d), pg_describe_object(refclassid, refobjid, refobjsubid)
    FROM pg_depend AS d WHERE (d.classid, objid) = (o.classid, id)
    UNION ALL
    SELECT objsubid, to_jsonb(d), pg_describe_object(refclassid, refobjid, 0)
    FROM pg_shdepend AS d
    WHERE (dbid, d.classid, objid) = ((SELECT oid FROM pg_database WHERE datname = current_database()), o.classid, id)
) AS catalog_row (part, catalog_content, definition)
CROSS JOIN LATERAL (
    SELECT jsonb_object_agg(key, CASE WHEN key ~ '(options|acl)$' AND value <> 'null'
        THEN (SELECT jsonb_agg(v ORDER BY v) FROM jsonb_array_elements(value) AS v) ELSE value END)
    FROM jsonb_each(catalog_content) WHERE key NOT IN (SELECT name FROM passed_over)
) AS compared (content)
ORDER BY line;
