<?php

// The adapter of test/clients/scenario.pl.

declare(strict_types=1);

require __DIR__ . '/account.php';

$url = getenv('DATABASE_URL');
$pdo = connect($url);
$store = new SnapshotStore($pdo);

final class CountingStore extends SnapshotStore
{
    public int $saved = 0;

    public function save(string $streamId, int $sequenceNumber, int $stateSchemaVersion, string $state): bool
    {
        $stored = parent::save($streamId, $sequenceNumber, $stateSchemaVersion, $state);
        $this->saved += (int) $stored;
        return $stored;
    }
}

/** @return array{string, int, int, string} */
function arguments(array $request): array
{
    return [$request['stream'], integer($request['sequence']), integer($request['version']), $request['state']];
}

/** A string of digits, or an error if that is too large. */
function integer(string $digits): int
{
    return $digits === (string) (int) $digits ? (int) $digits : throw new ValueError("no int: $digits");
}

/** @return list<int> */
function versions(array $request): array
{
    return array_map(integer(...), $request['versions']);
}

function reply(?Snapshot $snapshot): ?array
{
    return $snapshot === null ? null : [
        'sequence' => (string) $snapshot->sequenceNumber,
        'version' => (string) $snapshot->stateSchemaVersion,
        'state' => $snapshot->state,
    ];
}

function replyInHex(?Snapshot $snapshot): ?array
{
    return $snapshot === null ? null : ['state' => bin2hex($snapshot->state)] + reply($snapshot);
}

$operations = [
    'save' => fn (array $request) => ['stored' => $store->save(...arguments($request))],
    'save_bytes' => function (array $request) use ($store) {
        $request['state'] = hex2bin($request['state']);
        return ['stored' => $store->saveBytes(...arguments($request))];
    },
    'load' => fn (array $request) => ['snapshot' => reply($store->load($request['stream'], versions($request)))],
    'load_bytes' => fn (array $request) => [
        'snapshot' => replyInHex($store->loadBytes($request['stream'], versions($request))),
    ],
    'save_many' => fn (array $request) => [
        'stored' => (object) $store->saveMany(array_map(arguments(...), $request['snapshots'])),
    ],
    'load_many' => fn (array $request) => [
        'snapshots' => (object) array_map(reply(...), $store->loadMany($request['streams'], versions($request))),
    ],
    'forget' => function (array $request) use ($url) {
        $own = connect($url);
        $own->beginTransaction();
        return ['stored' => (new SnapshotStore($own))->save(...arguments($request))];
    },
    'account' => function (array $request) use ($pdo) {
        $counting = new CountingStore($pdo);
        $load = fn () => new Account($pdo, $counting, $request['stream'], $request['interval']);
        $account = $load();
        if ($request['again'] ?? false) {
            $account = $load();
        }
        $replayed = $account->sequenceNumber - $account->snapshotNumber;
        foreach ($request['amounts'] as $amount) {
            $account->deposit($amount);
        }
        return array_map(strval(...), [
            'balance' => $account->balance,
            'replayed' => $replayed,
            'saved' => $counting->saved,
        ]);
    },
    'quirk' => fn (array $request) => quirks($url, $pdo, $store)[$request['name']](),
];

// ---- the usual mistakes -----------------------------------------------------------------

/** @return array<string, callable(): mixed> */
function quirks(string $url, PDO $pdo, SnapshotStore $store): array
{
    $saved = function (mixed $state, array $options = []) use ($pdo, $store) {
        $pdo->prepare("SELECT snapshot_save('quirk@php', 42, 1, ?)", $options)->execute([$state]);
        return ['state' => $store->load('quirk@php', [1])->state];
    };
    $savedBytes = function (string $state) use ($pdo, $store) {
        $pdo->prepare("SELECT snapshot_save_bytea('quirk-bytes@php', 42, 1, ?)")->execute([$state]);
        return ['state' => bin2hex($store->loadBytes('quirk-bytes@php', [1])->state)];
    };

    return [
        'array' => fn () => $saved([]),
        'array_of_versions' => fn () => $pdo
            ->prepare("SELECT * FROM snapshot_load('quirk@php', ?)")
            ->execute([[1]]),
        'true' => fn () => $saved(true),
        'empty_object' => function () use ($store, $saved) {
            $store->save('quirk@php', 42, 1, '{"items": {}}');
            $state = json_decode($store->load('quirk@php', [1])->state, true);
            return $saved(json_encode($state));
        },
        'large_number_in_state' => function () use ($store, $saved) {
            $store->save('quirk@php', 42, 1, '{"id": 9223372036854775808, "total": 1.0}');
            $state = json_decode($store->load('quirk@php', [1])->state);
            return $saved(json_encode($state));
        },
        'state_with_zero' => fn () => $saved("{\"total\": 99}\0, and more"),
        'stream_with_zero' => function () use ($pdo, $store) {
            $pdo->prepare("SELECT snapshot_save(?, 42, 1, '[]')")->execute(["quirk@php\0another"]);
            return ['state' => $store->load('quirk@php', [1])->state];
        },
        'store_refuses_zero' => fn () => $store->load("quirk@php\0another", [1]),
        'bytes_with_zero' => fn () => $savedBytes("a\0b"),
        'bytes_with_escapes' => fn () => $savedBytes('\\101'),
        'bytes_are_a_stream' => function () use ($pdo, $store) {
            $store->saveBytes('quirk-bytes@php', 42, 1, "\0");
            $sql = "SELECT state FROM snapshot_load_bytea('quirk-bytes@php', '{1}')";
            return ['type' => gettype($pdo->query($sql)->fetchColumn())];
        },
        'sequence_number_beyond_int' => fn () => $pdo
            ->prepare("SELECT snapshot_save('quirk@php', ?, 1, '{}')")
            ->execute([PHP_INT_MAX + 1]),
        'false' => fn () => $pdo
            ->prepare("SELECT snapshot_save('quirk@php', 42, 1, '{}', replace => ?)")
            ->execute([false]),
        'emulated' => function () use ($pdo) {
            $statement = $pdo->prepare(
                'SELECT snapshot_save(?, 42, 1, ?)',
                [PDO::ATTR_EMULATE_PREPARES => true],
            );
            return ['executed' => $statement->execute(['quirk-emulated@php', "\"\xff\""])];
        },
        'no_commit' => function () use ($url, $store) {
            $naive = connect($url);
            $naive->beginTransaction();
            $stored = $naive->query("SELECT snapshot_save('quirk-no-commit@php', 42, 1, '{}')")->fetchColumn();
            $naive = null;
            return ['stored' => $stored, 'snapshot' => reply($store->load('quirk-no-commit@php', [1]))];
        },
        'digits_as_key' => function () use ($store) {
            return ['key' => gettype(array_key_first($store->saveMany([['42', 42, 1, '{}']])))];
        },
        'prepared_statement' => function () use ($pdo) {
            $statement = $pdo->prepare("SELECT * FROM snapshot_load(?, '{1}')");
            $statement->execute(['quirk@php']);
            return ['found' => count($statement->fetchAll())];
        },
    ];
}

// ---- requests and replies ---------------------------------------------------------------

while ($line = fgets(STDIN)) {
    $request = json_decode($line, true);
    try {
        $operation = $operations[$request['op']] ?? throw new ValueError("no operation {$request['op']}");
        $answer = $operation($request);
    } catch (PDOException $e) {
        $answer = ['error' => ['sqlstate' => $e->getCode(), 'type' => $e::class]];
    } catch (Throwable $e) {
        $answer = ['error' => ['message' => $e->getMessage()]];
    }
    echo json_encode($answer, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
}
