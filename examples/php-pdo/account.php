<?php

declare(strict_types=1);

require_once __DIR__ . '/SnapshotStore.php';

final class Account
{
    private const SCHEMA_VERSION = 1;
    private const RECOGNIZED = '{1}';

    /** The snapshot, if there is one, and the events after it. */
    private const REHYDRATE = <<<'SQL'
        WITH snapshot AS MATERIALIZED (
            SELECT sequence_number, state_schema_version, state FROM snapshot_load(:stream, :versions)
        )
        SELECT sequence_number, state_schema_version, state AS data FROM snapshot
        UNION ALL
        SELECT sequence_number, NULL, data FROM account_event
        WHERE stream_id = :stream AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
          AND sequence_number <= 9223372036854775807 -- always; for the planner
        ORDER BY sequence_number
        SQL;

    public int $balance = 0;
    public int $sequenceNumber = 0;
    public int $snapshotNumber = 0;

    public function __construct(
        private readonly PDO $pdo,
        private readonly SnapshotStore $store,
        private readonly string $streamId,
        private readonly int $interval = 100,
    ) {
        $rows = $this->query(self::REHYDRATE, ['stream' => $streamId, 'versions' => self::RECOGNIZED]);
        foreach ($rows as [$number, $version, $data]) {
            $data = json_decode($data, flags: JSON_THROW_ON_ERROR);
            $this->sequenceNumber = $number;
            if ($version === null) {
                $this->balance += $data->amount;
            } else {
                $this->balance = $data->balance;
                $this->snapshotNumber = $number;
            }
        }
    }

    /** @throws PDOException with the code 23505 if somebody else has appended to the stream meanwhile */
    public function deposit(int $amount): void
    {
        $this->query(
            'INSERT INTO account_event (stream_id, sequence_number, data) VALUES (?, ?, ?)',
            [$this->streamId, $this->sequenceNumber + 1, json_encode(['amount' => $amount])],
        );
        $this->sequenceNumber++;
        $this->balance += $amount;
        try {
            $this->saveIfDue();
        } catch (PDOException $e) { // the event is stored, and the next snapshot makes up for this one
            error_log("no snapshot of $this->streamId: " . $e->getMessage());
        }
    }

    private function saveIfDue(): void
    {
        if ($this->sequenceNumber - $this->snapshotNumber < $this->interval) {
            return;
        }
        $due = $this->query(
            'SELECT snapshot_due(?, ?, ?, ?)',
            [$this->streamId, self::RECOGNIZED, $this->sequenceNumber, $this->interval],
        )->fetchColumn();
        if ($due) {
            $state = json_encode(['balance' => $this->balance]);
            $this->store->save($this->streamId, $this->sequenceNumber, self::SCHEMA_VERSION, $state);
            $this->snapshotNumber = $this->sequenceNumber;
        }
    }

    private function query(string $sql, array $parameters): PDOStatement
    {
        $statement = $this->pdo->prepare($sql, [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]);
        $statement->setFetchMode(PDO::FETCH_NUM);
        $statement->execute($parameters);
        return $statement;
    }
}

function connect(string $url): PDO
{
    $url = parse_url($url) + ['port' => 5432, 'pass' => null];
    $dsn = "pgsql:host={$url['host']};port={$url['port']};dbname=" . ltrim($url['path'], '/');
    return new PDO($dsn, $url['user'], $url['pass']);
}

if (realpath($argv[0]) === __FILE__) {
    if ($argc < 2) {
        fwrite(STDERR, "usage: php account.php STREAM [AMOUNT...]\n");
        exit(1);
    }
    $pdo = connect(getenv('DATABASE_URL'));
    $account = new Account($pdo, new SnapshotStore($pdo), $argv[1]);
    foreach (array_slice($argv, 2) as $amount) {
        $account->deposit((int) $amount);
    }
    echo $account->balance, "\n";
}
