package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import example.SnapshotStore.Snapshot;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.StreamSupport;
import javax.sql.DataSource;

/** Answers the harness's requests, one JSON object a line. */
public final class Adapter {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final HexFormat HEX = HexFormat.of();

  private final DataSource dataSource;
  private final SnapshotStore store;
  private final Quirks quirks;

  private Adapter(String databaseUrl, boolean pooler) {
    dataSource = Account.dataSource(databaseUrl + (pooler ? "?prepareThreshold=0" : ""));
    store = new SnapshotStore(dataSource);
    quirks = new Quirks(databaseUrl);
  }

  public static void main(String[] arguments) throws Exception {
    boolean pooler =
        "transaction".equals(System.getenv("POOLER")) && System.getenv("DEFAULTS") == null;
    Adapter adapter = new Adapter(System.getenv("DATABASE_URL"), pooler);
    BufferedReader in =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      out.println(JSON.writeValueAsString(adapter.reply(JSON.readTree(line))));
    }
  }

  private Object reply(JsonNode request) {
    try {
      return answer(request);
    } catch (SQLException e) {
      return Map.of(
          "error",
          Map.of(
              "sqlstate", String.valueOf(e.getSQLState()), "type", e.getClass().getSimpleName()));
    } catch (Exception e) {
      return Map.of("error", Map.of("message", e.toString()));
    }
  }

  private Object answer(JsonNode request) throws Exception {
    String stream = request.path("stream").textValue();
    switch (request.path("op").asText()) {
      case "save":
        return Map.of(
            "stored",
            store.save(
                stream,
                number(request, "sequence"),
                number(request, "version"),
                request.path("state").textValue()));
      case "save_bytes":
        return Map.of(
            "stored",
            store.saveBytes(
                stream,
                number(request, "sequence"),
                number(request, "version"),
                HEX.parseHex(request.path("state").textValue())));
      case "load":
        return snapshot(store.load(stream, versions(request)).map(Adapter::describe).orElse(null));
      case "load_bytes":
        return snapshot(
            store
                .loadBytes(stream, versions(request))
                .map(s -> describe(s, HEX.formatHex(s.state())))
                .orElse(null));
      case "save_many":
        List<Snapshot<String>> snapshots = new ArrayList<>();
        for (JsonNode s : request.path("snapshots")) {
          snapshots.add(
              new Snapshot<>(
                  s.path("stream").textValue(),
                  number(s, "sequence"),
                  number(s, "version"),
                  s.path("state").textValue()));
        }
        return Map.of("stored", store.saveMany(snapshots));
      case "load_many":
        Map<String, Object> loaded = new TreeMap<>();
        List<String> streams =
            StreamSupport.stream(request.path("streams").spliterator(), false)
                .map(JsonNode::textValue)
                .toList();
        store.loadMany(streams, versions(request)).forEach((s, it) -> loaded.put(s, describe(it)));
        return Map.of("snapshots", loaded);
      case "forget":
        try (Connection connection = dataSource.getConnection();
            PreparedStatement statement = connection.prepareStatement(SnapshotStore.SAVE)) {
          connection.setAutoCommit(false);
          statement.setString(1, stream);
          statement.setLong(2, number(request, "sequence"));
          statement.setLong(3, number(request, "version"));
          statement.setString(4, request.path("state").textValue());
          try (ResultSet row = statement.executeQuery()) {
            row.next();
            return Map.of("stored", row.getBoolean(1));
          }
        }
      case "account":
        long interval = request.path("interval").longValue();
        Account account = new Account(dataSource, stream, interval);
        if (request.path("again").booleanValue()) {
          account = new Account(dataSource, stream, interval);
        }
        long replayed = account.sequenceNumber() - account.snapshotSequenceNumber();
        long saved = 0;
        for (JsonNode amount : request.path("amounts")) {
          long before = account.snapshotSequenceNumber();
          account.deposit(amount.longValue());
          saved += account.snapshotSequenceNumber() == before ? 0 : 1;
        }
        return Map.of(
            "balance", String.valueOf(account.balance()),
            "replayed", String.valueOf(replayed),
            "saved", String.valueOf(saved));
      case "quirk":
        return quirks.run(request.path("name").asText());
      default:
        throw new IllegalArgumentException("unknown op in " + request);
    }
  }

  private static long number(JsonNode request, String field) {
    return Long.parseLong(request.path(field).textValue());
  }

  private static long[] versions(JsonNode request) {
    return StreamSupport.stream(request.path("versions").spliterator(), false)
        .mapToLong(v -> Long.parseLong(v.textValue()))
        .toArray();
  }

  private static ObjectNode snapshot(Object described) {
    return JSON.createObjectNode().putPOJO("snapshot", described);
  }

  private static Map<String, String> describe(Snapshot<String> snapshot) {
    return describe(snapshot, snapshot.state());
  }

  private static Map<String, String> describe(Snapshot<?> snapshot, String state) {
    return Map.of(
        "sequence", String.valueOf(snapshot.sequenceNumber()),
        "version", String.valueOf(snapshot.stateSchemaVersion()),
        "state", state);
  }
}
