<?php
// PHP's PDO: a program as tests/drivers/process.py wants it.
// "pdo": statements are prepared by the server. "pdo-emulated": as PDO does it unless it is told otherwise.

declare(strict_types=1);

const COLUMNS = 'number, amount, ratio, day, moment, text, data';
const ROWS = [
    [1, '12345678.9012', 0.5, '2024-02-29', '2024-02-29 12:34:56.789012', 'ä€😀', "\0\xff'"],
    ['-9223372036854775808', '-0.0001', -1e300, '1000-01-01', '9999-12-31 23:59:59', '', ''],
    [null, null, null, null, null, null, null],
];

function show(mixed ...$values): void
{
    array_walk_recursive($values, function (&$value): void {
        if (is_string($value) && !is_utf8($value)) {
            $value = bin2hex($value);
        }
    });
    echo json_encode($values, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION), "\n";
}

function is_utf8(string $text): bool
{
    return preg_match('//u', $text) === 1;
}

function pause(): void
{
    echo "\"pause\"\n";
    fgets(STDIN);
}

function connect(): PDO
{
    $options = [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_NUM,
        PDO::ATTR_EMULATE_PREPARES => $GLOBALS['argv'][1] === 'pdo-emulated',
    ];
    if (getenv('DB_CA')) {
        $options[PDO::MYSQL_ATTR_SSL_CA] = getenv('DB_CA');
    }
    $place = sprintf('mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_SCHEMA'));
    return new PDO($place, getenv('DB_USER'), getenv('DB_PASSWORD'), $options);
}

$table = getenv('DB_TABLE');
$pdo = connect();
$rows = fn (string $sql): array => $pdo->query($sql)->fetchAll();

show('session', $rows('SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode'));
pause();
$pdo->exec("SET time_zone = '+05:00'");
pause();
show('time zone', $rows('SELECT @@time_zone, FROM_UNIXTIME(0)'));
pause();

$insert = "INSERT INTO $table (" . COLUMNS . ') VALUES (?, ?, ?, ?, ?, ?, ?)';
foreach (['rollBack', 'commit'] as $finish) {
    $pdo->beginTransaction();
    $statement = $pdo->prepare($insert);
    foreach (ROWS as $row) {
        $statement->execute($row);
        show('insert', $statement->rowCount(), $pdo->lastInsertId());
    }
    show('in the transaction', $rows("SELECT COUNT(*) FROM $table"));
    $pdo->$finish();
    pause();
    show('last insert id', $rows('SELECT LAST_INSERT_ID()'));
    show($finish, $rows("SELECT * FROM $table ORDER BY id"));
    pause();
}
$statement = $pdo->prepare($insert);
foreach (ROWS as $row) {
    $statement->execute($row);
    show('insert', $statement->rowCount(), $pdo->lastInsertId());
    pause();
}
$statement = $pdo->prepare("SELECT * FROM $table WHERE id = ?");
foreach ([4, 5, 6, 7, 100] as $id) {
    $statement->execute([$id]);
    show('select', $statement->fetchAll());
    pause();
}
$statement = $pdo->prepare('SELECT CONCAT(?, 1)');
foreach ([[1, PDO::PARAM_INT], ['ä€😀', PDO::PARAM_STR], [null, PDO::PARAM_NULL], [true, PDO::PARAM_BOOL]] as [$value, $type]) {
    $statement->bindValue(1, $value, $type);
    $statement->execute();
    show('type', $statement->fetchAll());
    pause();
}
foreach (["INSERT INTO $table (id) VALUES (4)", 'SELECT * FROM missing', 'SELECT 1 FROM'] as $sql) {
    foreach ([fn () => $pdo->query($sql), fn () => $pdo->prepare($sql)->execute()] as $run) {
        try {
            $run();
            show('no error');
        } catch (PDOException $error) {
            show('error', $error->errorInfo[0], $error->errorInfo[1]);
        }
        pause();
    }
}
$statement = $pdo->prepare('SELECT * FROM numbers WHERE id > ?');
$statement->execute([5]);
show('many rows', hash('sha256', json_encode($statement->fetchAll(), JSON_THROW_ON_ERROR)));
pause();
$statement = $pdo->prepare("UPDATE $table SET data = ? WHERE id = 4");
$statement->bindValue(1, str_repeat("a\0\xff'", 1 << 18), PDO::PARAM_LOB);
$statement->execute();
show('large value', $statement->rowCount(), hash('sha256', $rows("SELECT data FROM $table WHERE id = 4")[0][0]));
pause();
$statement = null;
$pdo = null;
