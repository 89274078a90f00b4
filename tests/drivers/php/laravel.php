<?php
// Laravel's database layer, as a framework's request uses it: a program as tests/drivers/process.py wants it.

declare(strict_types=1);

error_reporting(E_ALL & ~E_DEPRECATED); // it is older than this PHP

require_once '/usr/share/php/Illuminate/Database/autoload.php';

use Illuminate\Database\Capsule\Manager;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\QueryException;

class Row extends Model
{
    public $timestamps = false;
    protected $guarded = [];

    public function getTable()
    {
        return getenv('DB_TABLE');
    }
}

function show(mixed ...$values): void
{
    echo json_encode($values, JSON_THROW_ON_ERROR), "\n";
}

function pause(): void
{
    echo "\"pause\"\n";
    fgets(STDIN);
}

$manager = new Manager();
$manager->addConnection([
    'driver' => 'mysql',
    'host' => getenv('DB_HOST'),
    'port' => getenv('DB_PORT'),
    'database' => getenv('DB_SCHEMA'),
    'username' => getenv('DB_USER'),
    'password' => getenv('DB_PASSWORD'),
    'charset' => 'utf8mb4',
    'collation' => 'utf8mb4_unicode_ci',
    'timezone' => '+00:00',
    'strict' => true,
    'options' => getenv('DB_CA') ? [PDO::MYSQL_ATTR_SSL_CA => getenv('DB_CA')] : [],
]);
$manager->setAsGlobal();
$manager->bootEloquent();
$database = $manager->getConnection();

$rows = [
    ['number' => 1, 'amount' => '12345678.9012', 'ratio' => 0.5, 'day' => '2024-02-29', 'moment' => '2024-02-29 12:34:56.789012', 'text' => 'ä€😀', 'data' => "\0'"],
    ['number' => PHP_INT_MIN, 'amount' => '-0.0001', 'ratio' => -1e300, 'day' => '1000-01-01', 'moment' => '9999-12-31 23:59:59', 'text' => '', 'data' => ''],
    array_fill_keys(['number', 'amount', 'ratio', 'day', 'moment', 'text', 'data'], null),
];
foreach ($rows as $row) {
    show('created', Row::create($row)->id);
    pause();
}
show('rows', Row::orderBy('id')->get()->toArray());
pause();
$database->transaction(function () use ($database): void {
    $row = Row::lockForUpdate()->find(1);
    $row->text = 'changed ä€😀';
    $row->save();
    try {
        $database->transaction(fn () => Row::create(['id' => 1]));
    } catch (QueryException $error) {
        show('error', $error->errorInfo[1]);
    }
    Row::where('id', 2)->update(['number' => 7]);
});
pause();
try {
    $database->transaction(function (): void {
        Row::query()->delete();
        throw new DomainException();
    });
} catch (DomainException) {
    show('rolled back', Row::count());
}
pause();
show('rows', Row::orderBy('id')->pluck('text', 'number'));
pause();
show('many', Row::insert(array_map(fn (int $number): array => ['text' => "many $number"], range(1, 50))));
pause();
show('first', Row::firstOrCreate(['text' => 'many 7'])->id, Row::firstOrCreate(['text' => 'new'], ['number' => 3])->id);
pause();
show('upsert', Row::upsert([['id' => 1, 'number' => 9]], ['id'], ['number']), Row::find(1)->number, Row::max('number'));
pause();
show('page', Row::where('text', 'like', 'many%')->orderBy('id')->forPage(2, 10)->get()->modelKeys());
pause();
Row::orderBy('id')->chunk(20, function ($rows): void {
    show('chunk', $rows->count());
    pause();
});
show('numbers', hash('sha256', json_encode($database->table('numbers')->get(), JSON_THROW_ON_ERROR)));
show('session', $database->select('SELECT @@sql_mode AS mode, @@time_zone AS zone, @@collation_connection AS collation'));
pause();
show('deleted', Row::where('text', 'like', 'many%')->delete(), $database->getSchemaBuilder()->getColumnListing('numbers'));
pause();
$database->disconnect();
