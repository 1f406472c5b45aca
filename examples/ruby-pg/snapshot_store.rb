# frozen_string_literal: true

require "pg"

# The snapshots of event-sourced streams, over pg. A state is JSON text, kept to the letter.
# Each call is a transaction of its own, unless the connection is in one.
class SnapshotStore
  Snapshot = Struct.new(:sequence_number, :state_schema_version, :state)

  # Arrays as the server's, all else as text, of a type that is left to the server.
  PARAMETERS = PG::TypeMapByClass.new
  PARAMETERS[Array] = PG::TextEncoder::Array.new
  private_constant :PARAMETERS

  def initialize(connection)
    @connection = connection
  end

  # False if a newer snapshot is kept, or the store is off.
  def save(stream_id, sequence_number, state_schema_version, state)
    # pg would take a Hash for the type and the format of a parameter.
    raise TypeError, "state must be JSON text" unless state.is_a?(String)

    stored?(query("SELECT snapshot_save($1, $2, $3, $4)",
                  stream_id, sequence_number, state_schema_version, state).getvalue(0, 0))
  end

  def load(stream_id, recognized_schema_versions)
    snapshot(query(<<~SQL, stream_id, recognized_schema_versions).values.first)
      SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
    SQL
  end

  def save_bytes(stream_id, sequence_number, state_schema_version, state)
    # In binary: as text, a backslash would begin an escape, and a zero byte be an error. By its bytes: pg
    # converts what has another encoding.
    stored?(query("SELECT snapshot_save_bytea($1, $2, $3, $4)",
                  stream_id, sequence_number, state_schema_version, { value: state.b, format: 1 }).getvalue(0, 0))
  end

  def load_bytes(stream_id, recognized_schema_versions)
    found = snapshot(query(<<~SQL, stream_id, recognized_schema_versions).values.first)
      SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea($1, $2)
    SQL
    found&.tap { found.state = @connection.unescape_bytea(found.state) }
  end

  # Takes arrays of what #save takes. All or none, with one flush; tells of each stream whether its
  # snapshot was stored.
  def save_many(snapshots)
    columns = snapshots.empty? ? [[]] * 4 : snapshots.transpose
    query(<<~SQL, *columns).values.to_h { |id, flag| [id, stored?(flag)] }
      SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4)
    SQL
  end

  def load_many(stream_ids, recognized_schema_versions)
    rows = query(<<~SQL, stream_ids, recognized_schema_versions).values
      SELECT stream_id, sequence_number, state_schema_version, state FROM snapshot_load_many($1, $2)
    SQL
    rows.to_h { |stream_id, *columns| [stream_id, snapshot(columns)] }
  end

  private

  # Results come as text, whatever the connection's type maps make of them otherwise.
  def query(statement, *parameters)
    @connection.exec_params(statement, parameters, 0, PARAMETERS).map_types!(PG::TypeMapAllStrings.new)
  end

  # "f" is true to Ruby.
  def stored?(flag)
    flag == "t"
  end

  def snapshot(columns)
    columns && Snapshot.new(Integer(columns[0]), Integer(columns[1]), columns[2])
  end
end
