<?php

declare(strict_types=1);

final class Snapshot
{
    public function __construct(
        public readonly int $sequenceNumber,
        public readonly int $stateSchemaVersion,
        public readonly string $state,
    ) {
    }
}

/**
 * The snapshots of event-sourced streams, over PDO. A state is JSON text, kept to the letter.
 * Each call is a transaction of its own, unless the connection is in one.
 */
class SnapshotStore
{
    public function __construct(private readonly PDO $pdo)
    {
    }

    /** False if a newer snapshot is kept, or the store is off. */
    public function save(string $streamId, int $sequenceNumber, int $stateSchemaVersion, string $state): bool
    {
        return $this->query(
            'SELECT snapshot_save(?, ?, ?, ?)',
            [self::text($streamId), $sequenceNumber, $stateSchemaVersion, self::text($state)],
        )->fetchColumn();
    }

    /** @param list<int> $recognizedSchemaVersions */
    public function load(string $streamId, array $recognizedSchemaVersions): ?Snapshot
    {
        $row = $this->query(
            'SELECT sequence_number, state_schema_version, state FROM snapshot_load(?, ?)',
            [self::text($streamId), self::array($recognizedSchemaVersions)],
        )->fetch();
        return $row ? new Snapshot(...$row) : null;
    }

    public function saveBytes(string $streamId, int $sequenceNumber, int $stateSchemaVersion, string $state): bool
    {
        return $this->query(
            'SELECT snapshot_save_bytea(?, ?, ?, ?)',
            [self::text($streamId), $sequenceNumber, $stateSchemaVersion],
            $state,
        )->fetchColumn();
    }

    /** @param list<int> $recognizedSchemaVersions */
    public function loadBytes(string $streamId, array $recognizedSchemaVersions): ?Snapshot
    {
        $row = $this->query(
            'SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea(?, ?)',
            [self::text($streamId), self::array($recognizedSchemaVersions)],
        )->fetch();
        return $row ? new Snapshot($row[0], $row[1], stream_get_contents($row[2])) : null;
    }

    /**
     * All or none, with one flush.
     *
     * @param list<array{string, int, int, string}> $snapshots what save() takes
     * @return array<string, bool> whether the snapshot of a stream was stored
     */
    public function saveMany(array $snapshots): array
    {
        return $this->query(
            'SELECT stream_id, stored FROM snapshot_save_many(?, ?, ?, ?)',
            array_map(fn (int $column) => self::array(array_column($snapshots, $column)), range(0, 3)),
        )->fetchAll(PDO::FETCH_KEY_PAIR);
    }

    /**
     * @param list<string> $streamIds
     * @param list<int> $recognizedSchemaVersions
     * @return array<string, Snapshot> those that there are
     */
    public function loadMany(array $streamIds, array $recognizedSchemaVersions): array
    {
        $rows = $this->query(
            'SELECT stream_id, sequence_number, state_schema_version, state FROM snapshot_load_many(?, ?)',
            [self::array($streamIds), self::array($recognizedSchemaVersions)],
        );
        $snapshots = [];
        foreach ($rows as [$streamId, $sequenceNumber, $stateSchemaVersion, $state]) {
            $snapshots[$streamId] = new Snapshot($sequenceNumber, $stateSchemaVersion, $state);
        }
        return $snapshots;
    }

    /** Without a name for the statement, which PgBouncer would lose. */
    private function query(string $sql, array $parameters, ?string $bytes = null): PDOStatement
    {
        $statement = $this->pdo->prepare($sql, [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]);
        $statement->setFetchMode(PDO::FETCH_NUM);
        foreach ($parameters as $i => $parameter) {
            $statement->bindValue($i + 1, $parameter);
        }
        if ($bytes !== null) {
            $statement->bindValue(count($parameters) + 1, $bytes, PDO::PARAM_LOB);
        }
        $statement->execute();
        return $statement;
    }

    /** PDO would cut the text at a zero byte. */
    private static function text(string $text): string
    {
        return str_contains($text, "\0") ? throw new ValueError('text with a zero byte') : $text;
    }

    /** PDO has no arrays: '{"1","2"}'. */
    private static function array(array $elements): string
    {
        $quoted = array_map(fn ($element) => '"' . addcslashes((string) $element, '"\\') . '"', $elements);
        return self::text('{' . implode(',', $quoted) . '}');
    }
}
