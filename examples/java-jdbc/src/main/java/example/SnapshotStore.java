package example;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;
import javax.sql.DataSource;

/** The snapshots that the PostgreSQL extension snapshot_store keeps. Each call is a transaction. */
public final class SnapshotStore {
  /** The state as of one event: JSON text, a {@code String}, or bytes, a {@code byte[]}. */
  public record Snapshot<S>(
      String streamId, long sequenceNumber, long stateSchemaVersion, S state) {}

  // executeUpdate would save, and fail because a row came back. A String is sent as varchar, which
  // PostgreSQL does not convert to json by itself.
  static final String SAVE = "SELECT snapshot_save(?, ?, ?, ?::json)";

  private final DataSource dataSource;

  /**
   * Through PgBouncer in transaction mode, the connections need {@code prepareThreshold=0}.
   *
   * @param dataSource gives connections of their own, not that of a transaction under way
   */
  public SnapshotStore(DataSource dataSource) {
    this.dataSource = dataSource;
  }

  /** Returns whether it was stored. If not, a newer one is kept, or the store is off: no error. */
  public boolean save(String streamId, long sequenceNumber, long stateSchemaVersion, String state)
      throws SQLException {
    return query(
            SAVE, row -> row.getBoolean(1), streamId, sequenceNumber, stateSchemaVersion, state)
        .get(0);
  }

  public boolean saveBytes(
      String streamId, long sequenceNumber, long stateSchemaVersion, byte[] state)
      throws SQLException {
    return query(
            "SELECT snapshot_save_bytea(?, ?, ?, ?)",
            row -> row.getBoolean(1),
            streamId,
            sequenceNumber,
            stateSchemaVersion,
            state)
        .get(0);
  }

  /** The most recent snapshot of one of these schema versions. */
  public Optional<Snapshot<String>> load(String streamId, long... recognizedSchemaVersions)
      throws SQLException {
    return query(
            "SELECT sequence_number, state_schema_version, state FROM snapshot_load(?, ?)",
            row -> new Snapshot<>(streamId, row.getLong(1), row.getLong(2), row.getString(3)),
            streamId,
            recognizedSchemaVersions)
        .stream()
        .findFirst();
  }

  public Optional<Snapshot<byte[]>> loadBytes(String streamId, long... recognizedSchemaVersions)
      throws SQLException {
    return query(
            "SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea(?, ?)",
            row -> new Snapshot<>(streamId, row.getLong(1), row.getLong(2), row.getBytes(3)),
            streamId,
            recognizedSchemaVersions)
        .stream()
        .findFirst();
  }

  /** Saves snapshots of different streams, all or none; returns for each stream what save would. */
  public Map<String, Boolean> saveMany(List<Snapshot<String>> snapshots) throws SQLException {
    Map<String, Boolean> stored = new LinkedHashMap<>();
    query(
        "SELECT stream_id, stored FROM snapshot_save_many(?, ?, ?, ?::json[])",
        row -> stored.put(row.getString(1), row.getBoolean(2)),
        snapshots.stream().map(Snapshot::streamId).toArray(String[]::new),
        snapshots.stream().mapToLong(Snapshot::sequenceNumber).toArray(),
        snapshots.stream().mapToLong(Snapshot::stateSchemaVersion).toArray(),
        snapshots.stream().map(Snapshot::state).toArray(String[]::new));
    return stored;
  }

  /** The most recent snapshots by stream. A stream without a recognized one is missing. */
  public Map<String, Snapshot<String>> loadMany(
      Collection<String> streamIds, long... recognizedSchemaVersions) throws SQLException {
    return query(
            """
            SELECT stream_id, sequence_number, state_schema_version, state
            FROM snapshot_load_many(?, ?)
            """,
            row ->
                new Snapshot<>(row.getString(1), row.getLong(2), row.getLong(3), row.getString(4)),
            streamIds.toArray(String[]::new),
            recognizedSchemaVersions)
        .stream()
        .collect(Collectors.toMap(Snapshot::streamId, Function.identity()));
  }

  /** Whether a stream with so many events is worth a snapshot every {@code interval} events. */
  public boolean due(String streamId, long eventCount, long interval, long... recognizedVersions)
      throws SQLException {
    return query(
            "SELECT snapshot_due(?, ?, ?, ?)",
            row -> row.getBoolean(1),
            streamId,
            recognizedVersions,
            eventCount,
            interval)
        .get(0);
  }

  private interface Reader<T> {
    T read(ResultSet row) throws SQLException;
  }

  private <T> List<T> query(String sql, Reader<T> reader, Object... parameters)
      throws SQLException {
    try (Connection connection = dataSource.getConnection()) {
      // Where the pool has it off, a save would be rolled back without a word.
      connection.setAutoCommit(true);
      try (PreparedStatement statement = connection.prepareStatement(sql)) {
        for (int i = 0; i < parameters.length; i++) {
          statement.setObject(i + 1, parameters[i]);
        }
        List<T> rows = new ArrayList<>();
        try (ResultSet result = statement.executeQuery()) {
          while (result.next()) {
            rows.add(reader.read(result));
          }
        }
        return rows;
      }
    }
  }
}
