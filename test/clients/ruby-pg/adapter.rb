# frozen_string_literal: true

# The adapter of test/clients/scenario.pl.
require "json"
require "pg"
require "set"
require_relative "account"
require_relative "snapshot_store"

URL = ENV.fetch("DATABASE_URL")

# Counts the snapshots that it has stored.
class CountingStore < SnapshotStore
  attr_reader :saved

  def save(*)
    @saved = saved.to_i + 1 if (stored = super)
    stored
  end
end

# What a request asks for.
class Operations
  def initialize(connection)
    @connection = connection
    @store = SnapshotStore.new(connection)
    @quirks = Quirks.new(connection, @store)
  end

  def save(request)
    { stored: @store.save(*arguments(request)) }
  end

  def save_bytes(request)
    *numbers, state = arguments(request)
    { stored: @store.save_bytes(*numbers, [state].pack("H*")) }
  end

  def load(request)
    { snapshot: reply(@store.load(request["stream"], versions(request))) }
  end

  def load_bytes(request)
    snapshot = @store.load_bytes(request["stream"], versions(request))
    snapshot&.state = snapshot.state.unpack1("H*")
    { snapshot: reply(snapshot) }
  end

  def save_many(request)
    { stored: @store.save_many(request["snapshots"].map { |snapshot| arguments(snapshot) }) }
  end

  def load_many(request)
    snapshots = @store.load_many(request["streams"], versions(request))
    { snapshots: snapshots.transform_values { |snapshot| reply(snapshot) } }
  end

  def forget(request)
    own = PG.connect(URL)
    own.exec("BEGIN")
    { stored: SnapshotStore.new(own).save(*arguments(request)) }
  ensure
    own.finish
  end

  def account(request)
    counting = CountingStore.new(@connection)
    load = -> { Account.new(@connection, counting, request["stream"], interval: request["interval"]) }
    account = load.call
    account = load.call if request["again"]
    replayed = account.sequence_number - account.snapshot_number
    request["amounts"].each { |amount| account.deposit(amount) }
    { balance: account.balance.to_s, replayed: replayed.to_s, saved: counting.saved.to_i.to_s }
  end

  def quirk(request)
    @quirks.public_send(request["name"])
  end

  private

  def arguments(request)
    [request["stream"], Integer(request["sequence"]), Integer(request["version"]), request["state"]]
  end

  def versions(request)
    request["versions"].map { |version| Integer(version) }
  end

  def reply(snapshot)
    snapshot && {
      sequence: snapshot.sequence_number.to_s,
      version: snapshot.state_schema_version.to_s,
      state: snapshot.state
    }
  end
end

# The usual mistakes.
class Quirks
  def initialize(connection, store)
    @connection = connection
    @store = store
  end

  def hash_as_state
    saved({ status: "paid" })
  end

  def hash_with_value
    saved({ status: "paid", value: 42 })
  end

  def store_refuses_hash
    @store.save("quirk@ruby", 1, 1, { status: "paid", value: 42 })
  end

  def array_as_state
    saved([nil, :paid])
  end

  def empty_array_by_type
    @connection.exec_params("SELECT snapshot_save('quirk@ruby', 1, 1, $1)", [[]], 0, basic_types)
  end

  def batch_by_type
    @connection.exec_params("SELECT * FROM snapshot_save_many($1, $2, $3, $4)",
                            [["quirk@ruby"], [1], [1], ["{}"]], 0, basic_types)
  end

  def array_of_versions
    @connection.exec_params("SELECT * FROM snapshot_load('quirk@ruby', $1)", [[1]])
  end

  def stored_is_text
    @store.save("quirk-stored@ruby", 2, 1, "{}")
    older = @connection.exec("SELECT snapshot_save('quirk-stored@ruby', 1, 1, '{}')").getvalue(0, 0)
    { stored: older ? true : false }
  end

  def state_by_type
    @store.save("quirk@ruby", 1, 1, '{"total": 12345678901234567890.10}')
    result = @connection.exec("SELECT state FROM snapshot_load('quirk@ruby', '{1}')")
    { state: JSON.generate(result.map_types!(PG::BasicTypeMapForResults.new(@connection)).getvalue(0, 0)) }
  end

  def bytes_as_text
    saved_bytes("\\101\\\\")
  end

  def bytes_with_zero_as_text
    saved_bytes("a\0b")
  end

  def bytes_of_another_encoding
    saved_bytes({ value: (+"\xff").force_encoding("ISO-8859-1"), format: 1 })
  end

  def store_takes_bytes
    @store.save_bytes("quirk-bytes@ruby", 1, 1, (+"\xff").force_encoding("ISO-8859-1"))
    { state: @store.load_bytes("quirk-bytes@ruby", [1]).state.unpack1("H*") }
  end

  def loaded_bytes_as_text
    @store.save_bytes("quirk-bytes@ruby", 1, 1, "a")
    { state: @connection.exec("SELECT state FROM snapshot_load_bytea('quirk-bytes@ruby', '{1}')").getvalue(0, 0) }
  end

  def prepared_statement
    unless @prepared
      @connection.prepare("load", "SELECT * FROM snapshot_load($1, $2)")
      @prepared = true
    end
    { found: @connection.exec_prepared("load", ["quirk@ruby", "{1}"]).ntuples }
  end

  private

  def saved(state)
    @connection.exec_params("SELECT snapshot_save('quirk@ruby', 1, 1, $1)", [state])
    { state: @store.load("quirk@ruby", [1]).state }
  end

  def saved_bytes(state)
    @connection.exec_params("SELECT snapshot_save_bytea('quirk-bytes@ruby', 1, 1, $1)", [state])
    { state: @store.load_bytes("quirk-bytes@ruby", [1]).state.unpack1("H*") }
  end

  def basic_types
    PG::BasicTypeMapForQueries.new(@connection)
  end
end

def answer(operations, request)
  operations.public_send(request["op"], request)
rescue PG::Error => e
  sqlstate = e.respond_to?(:result) && e.result&.error_field(PG::Result::PG_DIAG_SQLSTATE)
  { error: sqlstate ? { sqlstate: sqlstate, type: e.class.name } : { message: e.message } }
rescue StandardError => e
  { error: { message: e.message } }
end

$stdout.sync = true
operations = Operations.new(PG.connect(URL))
$stdin.each_line { |line| puts JSON.generate(answer(operations, JSON.parse(line))) }
