# frozen_string_literal: true

require "json"
require "pg"
require_relative "snapshot_store"

# An event-sourced account.
class Account
  SCHEMA_VERSION = 1
  RECOGNIZED = "{1}"

  # The snapshot, if there is one, and the events after it.
  REHYDRATE = <<~SQL
    WITH snapshot AS MATERIALIZED (
        SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
    )
    SELECT sequence_number, state_schema_version, state AS data FROM snapshot
    UNION ALL
    SELECT sequence_number, NULL, data FROM account_event
    WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
      AND sequence_number <= 9223372036854775807 -- always; for the planner
    ORDER BY sequence_number
  SQL

  attr_reader :balance, :sequence_number, :snapshot_number

  def initialize(connection, store, stream_id, interval: 100)
    @connection, @store, @stream_id, @interval = connection, store, stream_id, interval
    @balance = @sequence_number = @snapshot_number = 0
    @connection.exec_params(REHYDRATE, [stream_id, RECOGNIZED]).each_row do |number, version, data|
      @sequence_number = Integer(number)
      if version
        @balance = JSON.parse(data)["balance"]
        @snapshot_number = @sequence_number
      else
        @balance += JSON.parse(data)["amount"]
      end
    end
  end

  # Raises PG::UniqueViolation if somebody else has appended to the stream meanwhile.
  def deposit(amount)
    @connection.exec_params(<<~SQL, [@stream_id, @sequence_number + 1, JSON.generate(amount: amount)])
      INSERT INTO account_event (stream_id, sequence_number, data) VALUES ($1, $2, $3)
    SQL
    @sequence_number += 1
    @balance += amount
    save_if_due
  end

  private

  def save_if_due
    return if @sequence_number - @snapshot_number < @interval || !due?

    @store.save(@stream_id, @sequence_number, SCHEMA_VERSION, JSON.generate(balance: @balance))
    @snapshot_number = @sequence_number
  rescue PG::Error => e # the event is stored, and the next snapshot makes up for this one
    warn "no snapshot of #{@stream_id}: #{e.message}"
  end

  def due?
    parameters = [@stream_id, RECOGNIZED, @sequence_number, @interval]
    @connection.exec_params("SELECT snapshot_due($1, $2, $3, $4)", parameters).getvalue(0, 0) == "t"
  end
end

if __FILE__ == $PROGRAM_NAME
  stream_id, *amounts = ARGV
  abort "usage: ruby account.rb STREAM [AMOUNT...]" unless stream_id
  connection = PG.connect(ENV.fetch("DATABASE_URL"))
  account = Account.new(connection, SnapshotStore.new(connection), stream_id)
  amounts.each { |amount| account.deposit(Integer(amount)) }
  puts account.balance
end
