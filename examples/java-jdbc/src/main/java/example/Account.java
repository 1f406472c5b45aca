package example;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;

/** An account whose state is the sum of its events. */
public final class Account {
  record Event(long amount) {}

  record State(long balance) {}

  private static final long SCHEMA_VERSION = 1;
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final System.Logger LOG = System.getLogger(Account.class.getName());

  // The snapshot, if there is one, and the events after it.
  private static final String LOAD =
      """
      WITH snapshot AS MATERIALIZED (
          SELECT sequence_number, state_schema_version, state FROM snapshot_load(?, ?)
      )
      SELECT sequence_number, state_schema_version, state AS data FROM snapshot
      UNION ALL
      SELECT sequence_number, NULL, data FROM account_event
      WHERE stream_id = ? AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
        AND sequence_number <= 9223372036854775807 -- always; for the planner
      ORDER BY sequence_number
      """;

  private final DataSource dataSource;
  private final SnapshotStore snapshots;
  private final String streamId;
  private final long interval;
  private State state = new State(0);
  private long sequenceNumber;
  private long snapshotSequenceNumber;

  /** Loads the account; from then on, it saves a snapshot every {@code interval} events. */
  public Account(DataSource dataSource, String streamId, long interval)
      throws SQLException, JsonProcessingException {
    this.dataSource = dataSource;
    this.snapshots = new SnapshotStore(dataSource);
    this.streamId = streamId;
    this.interval = interval;
    try (Connection connection = dataSource.getConnection();
        PreparedStatement statement = connection.prepareStatement(LOAD)) {
      statement.setString(1, streamId);
      statement.setObject(2, new long[] {SCHEMA_VERSION});
      statement.setString(3, streamId);
      try (ResultSet row = statement.executeQuery()) {
        while (row.next()) {
          sequenceNumber = row.getLong("sequence_number");
          String data = row.getString("data");
          if (row.getObject("state_schema_version") != null) {
            snapshotSequenceNumber = sequenceNumber;
            state = JSON.readValue(data, State.class);
          } else {
            apply(JSON.readValue(data, Event.class));
          }
        }
      }
    }
  }

  /** Fails with SQLSTATE 23505 if somebody else has changed the account since it was loaded. */
  public void deposit(long amount) throws SQLException, JsonProcessingException {
    Event event = new Event(amount);
    try (Connection connection = dataSource.getConnection();
        PreparedStatement statement =
            connection.prepareStatement("INSERT INTO account_event VALUES (?, ?, ?::json)")) {
      connection.setAutoCommit(true);
      statement.setString(1, streamId);
      statement.setLong(2, sequenceNumber + 1);
      statement.setString(3, JSON.writeValueAsString(event));
      statement.executeUpdate();
    }
    sequenceNumber++;
    apply(event);
    takeSnapshot();
  }

  public long balance() {
    return state.balance();
  }

  private void apply(Event event) {
    state = new State(state.balance() + event.amount());
  }

  // A snapshot is a cache: if it cannot be saved, the next one makes up for it.
  private void takeSnapshot() {
    if (sequenceNumber - snapshotSequenceNumber < interval) {
      return;
    }
    try {
      if (snapshots.due(streamId, sequenceNumber, interval, SCHEMA_VERSION)
          && snapshots.save(
              streamId, sequenceNumber, SCHEMA_VERSION, JSON.writeValueAsString(state))) {
        snapshotSequenceNumber = sequenceNumber;
      }
    } catch (SQLException | JsonProcessingException e) {
      LOG.log(System.Logger.Level.WARNING, "no snapshot of " + streamId, e);
    }
  }

  long sequenceNumber() {
    return sequenceNumber;
  }

  long snapshotSequenceNumber() {
    return snapshotSequenceNumber;
  }

  public static void main(String[] arguments) throws SQLException, JsonProcessingException {
    String databaseUrl = System.getenv("DATABASE_URL");
    if (arguments.length == 0 || databaseUrl == null) {
      System.err.println(
          "usage: Account STREAM [AMOUNT...], with"
              + " DATABASE_URL=postgres://user:password@host/database");
      System.exit(1);
    }
    Account account = new Account(dataSource(databaseUrl), arguments[0], 100);
    for (int i = 1; i < arguments.length; i++) {
      account.deposit(Long.parseLong(arguments[i]));
    }
    System.out.println(account.balance());
  }

  // The driver knows only jdbc:postgresql://host/database, and takes no user before the host.
  static DataSource dataSource(String databaseUrl) {
    PGSimpleDataSource dataSource = new PGSimpleDataSource();
    dataSource.setUrl(
        databaseUrl.replaceFirst("^(jdbc:)?postgres(ql)?://([^/@]*@)?", "jdbc:postgresql://"));
    String user = URI.create(databaseUrl.replaceFirst("^jdbc:", "")).getUserInfo();
    if (user != null) {
      String[] userAndPassword = user.split(":", 2);
      dataSource.setUser(userAndPassword[0]);
      if (userAndPassword.length == 2) {
        dataSource.setPassword(userAndPassword[1]);
      }
    }
    return dataSource;
  }
}
