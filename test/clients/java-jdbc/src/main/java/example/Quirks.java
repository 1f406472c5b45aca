package example;

import java.math.BigDecimal;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.postgresql.ds.PGSimpleDataSource;
import org.postgresql.util.PGobject;

/** What a naive caller gets from this driver; quirks.json says why. */
final class Quirks {
  private static final String SAVE_UNCAST = "SELECT snapshot_save(?, ?, ?, ?)";

  private final String databaseUrl;

  Quirks(String databaseUrl) {
    this.databaseUrl = databaseUrl;
  }

  Object run(String name) throws SQLException {
    String stream = "java-jdbc-" + name;
    try (Connection connection = Account.dataSource(databaseUrl).getConnection()) {
      query(connection, "SELECT snapshot_delete(?)", stream);
      switch (name) {
        case "execute_update":
          try {
            prepare(connection, SnapshotStore.SAVE, stream, 1L, 1L, "{}").executeUpdate();
            return Map.of("saved", saved(connection, stream));
          } catch (SQLException e) {
            return Map.of("sqlstate", e.getSQLState(), "saved", saved(connection, stream));
          }
        case "execute_batch":
          query(connection, SnapshotStore.SAVE, stream, 7L, 1L, "{}");
          try (PreparedStatement statement = connection.prepareStatement(SnapshotStore.SAVE)) {
            for (long sequence : new long[] {6, 8}) { // one too old, one that is stored
              bind(statement, stream, sequence, 1L, "{}");
              statement.addBatch();
            }
            return Map.of("counts", statement.executeBatch());
          }
        case "call_save":
          try (CallableStatement call =
              connection.prepareCall("{call snapshot_save(?, ?, ?, ?::json)}")) {
            bind(call, stream, 1L, 1L, "{}");
            int count = call.executeUpdate();
            return Map.of("count", count, "saved", saved(connection, stream));
          }
        case "call_purge":
          try (CallableStatement call = connection.prepareCall("{call snapshot_purge(?, ?)}")) {
            bind(call, stream, new long[] {2});
            return call.execute();
          }
        case "purge_execute_update":
          query(connection, SnapshotStore.SAVE, stream, 1L, 1L, "{}");
          try {
            prepare(connection, "CALL snapshot_purge(?, ?)", stream, new long[] {2})
                .executeUpdate();
            return Map.of("saved", saved(connection, stream));
          } catch (SQLException e) {
            return Map.of("sqlstate", e.getSQLState(), "saved", saved(connection, stream));
          }
        case "purge_in_transaction":
          connection.setAutoCommit(false);
          return query(connection, "CALL snapshot_purge(?, ?)", stream, new long[] {2});
        case "string_without_cast":
          return query(connection, SAVE_UNCAST, stream, 1L, 1L, "{}");
        case "text_array":
          return query(
              connection,
              "SELECT stored FROM snapshot_save_many(?, ?, ?, ?)",
              new String[] {stream},
              new long[] {1},
              new long[] {1},
              connection.createArrayOf("text", new String[] {"{}"}));
        case "pgobject_jsonb":
          return query(connection, SAVE_UNCAST, stream, 1L, 1L, jsonb("{}"));
        case "pgobject_jsonb_cast":
          query(connection, SnapshotStore.SAVE, stream, 1L, 1L, jsonb("{\"b\": 1e2, \"a\":[]}"));
          return query(connection, "SELECT state FROM snapshot_load(?, '{1}')", stream);
        case "uuid":
          return query(connection, SnapshotStore.SAVE, UUID.randomUUID(), 1L, 1L, "{}");
        case "big_decimal":
          return query(connection, SnapshotStore.SAVE, stream, BigDecimal.ONE, 1L, "{}");
        case "list_of_versions":
          return query(connection, "SELECT state FROM snapshot_load(?, ?)", stream, List.of(1L));
        case "version_as_int":
          query(connection, SnapshotStore.SAVE, stream, 1L, 4_294_967_295L, "{}");
          try (PreparedStatement statement =
                  prepare(
                      connection,
                      "SELECT state_schema_version FROM snapshot_load(?, ?)",
                      stream,
                      new long[] {4_294_967_295L});
              ResultSet row = statement.executeQuery()) {
            row.next();
            return row.getInt(1);
          }
        case "question_mark":
          return query(
              connection,
              "SELECT stream_id FROM snapshot_store WHERE stream_id = ? AND metadata ? 'node'",
              stream);
        case "auto_commit_off":
          connection.setAutoCommit(false);
          query(connection, SnapshotStore.SAVE, stream, 1L, 1L, "{}");
          connection.close();
          try (Connection another = Account.dataSource(databaseUrl).getConnection()) {
            boolean naive = saved(another, stream);
            new SnapshotStore(autoCommitOff()).save(stream, 1, 1, "{}");
            return Map.of("naive", naive, "store", saved(another, stream));
          }
        case "forms_of_url":
          String host = databaseUrl.replaceFirst("^.*@", "");
          List<String> users = new ArrayList<>();
          for (String url :
              List.of(
                  "postgres://app:p%40ss:word@" + host,
                  "postgresql://" + host + "?user=app",
                  "jdbc:postgresql://app@" + host,
                  "jdbc:postgresql://" + host + "?user=app&password=secret")) {
            PGSimpleDataSource source = (PGSimpleDataSource) Account.dataSource(url);
            try (Connection one = source.getConnection()) {
              users.add(query(one, "SELECT current_user") + ":" + source.getPassword());
            }
          }
          return users;
        case "prepared_statements":
          for (long sequence = 1; sequence <= 10; sequence++) {
            query(connection, SnapshotStore.SAVE, stream, sequence, 1L, "{}");
          }
          return "saved";
        case "isolation_level":
          connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
          connection.close();
          try (Connection another = Account.dataSource(databaseUrl).getConnection();
              Connection faster = Account.dataSource(databaseUrl).getConnection()) {
            another.setAutoCommit(false);
            query(another, "SELECT snapshot_due(?, '{1}', 1, 1)", stream);
            query(faster, SnapshotStore.SAVE, stream, 1L, 1L, "{}");
            return query(another, SnapshotStore.SAVE, stream, 2L, 1L, "{}");
          }
        default:
          throw new IllegalArgumentException("unknown quirk " + name);
      }
    }
  }

  private PGSimpleDataSource autoCommitOff() {
    PGSimpleDataSource pool =
        new PGSimpleDataSource() {
          @Override
          public Connection getConnection() throws SQLException {
            Connection connection = super.getConnection();
            connection.setAutoCommit(false);
            return connection;
          }
        };
    PGSimpleDataSource usual = (PGSimpleDataSource) Account.dataSource(databaseUrl);
    pool.setUrl(usual.getUrl());
    pool.setUser(usual.getUser());
    return pool;
  }

  private static PGobject jsonb(String value) throws SQLException {
    PGobject object = new PGobject();
    object.setType("jsonb");
    object.setValue(value);
    return object;
  }

  private static boolean saved(Connection connection, String stream) throws SQLException {
    return query(connection, "SELECT sequence_number FROM snapshot_info(?)", stream) != null;
  }

  private static void bind(PreparedStatement statement, Object... parameters) throws SQLException {
    for (int i = 0; i < parameters.length; i++) {
      statement.setObject(i + 1, parameters[i]);
    }
  }

  private static PreparedStatement prepare(Connection connection, String sql, Object... parameters)
      throws SQLException {
    PreparedStatement statement = connection.prepareStatement(sql);
    bind(statement, parameters);
    return statement;
  }

  /** The first column of the first row, or null. */
  private static String query(Connection connection, String sql, Object... parameters)
      throws SQLException {
    try (PreparedStatement statement = prepare(connection, sql, parameters);
        ResultSet row = statement.executeQuery()) {
      return row.next() ? row.getString(1) : null;
    }
  }
}
