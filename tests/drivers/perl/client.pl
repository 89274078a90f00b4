# Perl's DBD::mysql or DBD::MariaDB: a program as tests/drivers/process.py wants it.
use strict;
use warnings;
use utf8;

use DBI;
use Digest::SHA qw(sha256_hex);
use JSON::PP;

my ($driver) = @ARGV;    # mysql or MariaDB
my $prefix = lc $driver;
my $table  = $ENV{DB_TABLE};
my $json   = JSON::PP->new->ascii->allow_nonref->canonical;
$| = 1;

sub show  { print $json->encode([@_]), "\n" }
sub pause { print "\"pause\"\n"; readline STDIN }

my @rows = (
    [1, '12345678.9012', 0.5, '2024-02-29', '2024-02-29 12:34:56.789012', "ä€\x{1f600}", "\0'"],
    ['-9223372036854775808', '-0.0001', -1.5e30, '1000-01-01', '9999-12-31 23:59:59', '', ''],
    [(undef) x 7],
);
my $settings = {
    RaiseError => 1, PrintError => 0, AutoCommit => 1,
    "${prefix}_server_prepare" => 1,
    # DBD::MariaDB always uses utf8mb4.
    ($driver eq 'mysql' ? (mysql_enable_utf8mb4 => 1) : ()),
    ($ENV{DB_CA} ? ("${prefix}_ssl" => 1, "${prefix}_ssl_ca_file" => $ENV{DB_CA}) : ()),
    # Of itself it would insist on TLS, which it cannot with MariaDB's library.
    ($driver eq 'mysql' ? (mysql_ssl_optional => 1) : ()),
};
my $dbh = DBI->connect("DBI:$driver:database=$ENV{DB_SCHEMA};host=$ENV{DB_HOST};port=$ENV{DB_PORT}",
    $ENV{DB_USER}, $ENV{DB_PASSWORD}, $settings);

sub rows {
    my ($sql, @values) = @_;
    my $sth = $dbh->prepare($sql);
    $sth->execute(@values);
    return $sth->fetchall_arrayref;
}

show('session', rows('SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode'));
pause();
show('id', rows('SELECT CONNECTION_ID()')->[0][0] == $dbh->{"${prefix}_thread_id"} ? 1 : 0);
$dbh->do("SET time_zone = '+05:00'");
pause();
show('time zone', rows('SELECT @@time_zone, FROM_UNIXTIME(0)'));
pause();

my $insert = "INSERT INTO $table (number, amount, ratio, day, moment, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)";
my $select = "SELECT id, number, amount, ratio, day, moment, text, data FROM $table";
for my $finish (qw(rollback commit)) {
    $dbh->begin_work;
    my $sth = $dbh->prepare($insert);
    show('insert', $sth->execute(@$_), $sth->{"${prefix}_insertid"}) for @rows;
    show('in the transaction', rows("SELECT COUNT(*) FROM $table"));
    $dbh->$finish;
    pause();
    show('last insert id', rows('SELECT LAST_INSERT_ID()'));
    show($finish, rows("$select ORDER BY id"));
    pause();
}
my $sth = $dbh->prepare($insert);
for (@rows) {
    show('insert', $sth->execute(@$_), $dbh->last_insert_id(undef, undef, undef, undef));
    pause();
}
$sth = $dbh->prepare("$select WHERE id = ?");
for my $id (4, 5, 6, 7, 100) {
    $sth->execute($id);
    show('select', $sth->fetchall_arrayref);
    pause();
}
$sth = $dbh->prepare('SELECT CONCAT(?, 1)');
for my $value (1, "ä€\x{1f600}", undef, 2.5, '') {
    $sth->execute($value);
    show('type', $sth->fetchall_arrayref);
    pause();
}
for my $sql ("INSERT INTO $table (id) VALUES (4)", 'SELECT * FROM missing', 'SELECT 1 FROM') {
    eval { $dbh->do($sql); show('no error') } or show('error', $dbh->err, $dbh->state);
    pause();
    eval { rows($sql); show('no error') } or show('error', $dbh->err, $dbh->state);
    pause();
}
show('many rows', sha256_hex($json->encode(rows('SELECT * FROM numbers WHERE id > ?', 5))));
pause();
show('large value', $dbh->do("UPDATE $table SET data = ? WHERE id = 4", undef, "a\0'b" x (1 << 18)));
show('large value', rows("SELECT LENGTH(data), SHA2(data, 256) FROM $table WHERE id = 4"));
pause();
$dbh->disconnect;
