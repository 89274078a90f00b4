// Node's mysql2 or mariadb: a program as tests/drivers/process.py wants it.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const readline = require('node:readline');

const { DB_HOST, DB_PORT, DB_USER, DB_PASSWORD, DB_SCHEMA, DB_TABLE, DB_CA } = process.env;
const driver = process.argv[2];
const columns = 'number, amount, ratio, day, moment, text, data';
const rows = [
  [1, '12345678.9012', 0.5, '2024-02-29', '2024-02-29 12:34:56.789012', 'ä€😀', Buffer.from([0, 255, 39])],
  ['-9223372036854775808', '-0.0001', -1e300, '1000-01-01', '9999-12-31 23:59:59', '', Buffer.alloc(0)],
  [null, null, null, null, null, null, null],
];

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const plain = (key, value) =>
  typeof value === 'bigint' ? String(value) : value && value.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value;
const show = (...values) => console.log(JSON.stringify(values, plain));
const digest = (value) => crypto.createHash('sha256').update(JSON.stringify(value, plain)).digest('hex');
const pause = async () => {
  console.log('"pause"');
  await input.next();
};
const done = (ok) => [ok.affectedRows, Number(ok.insertId)];

async function main() {
  const settings = { host: DB_HOST, port: Number(DB_PORT), user: DB_USER, password: DB_PASSWORD, database: DB_SCHEMA };
  Object.assign(settings, { dateStrings: true, rowsAsArray: true, supportBigNumbers: true, bigNumberStrings: true });
  if (DB_CA) settings.ssl = { ca: fs.readFileSync(DB_CA) };
  if (driver === 'mariadb') settings.allowPublicKeyRetrieval = true;
  const pool = driver === 'mariadb'
    ? require('mariadb').createPool({ ...settings, connectionLimit: 1 })
    : require('mysql2/promise').createPool({ ...settings, connectionLimit: 1, charset: 'utf8mb4' });
  const connection = await pool.getConnection();
  const query = async (sql, values) => (driver === 'mariadb' ? connection.query(sql, values) : (await connection.query(sql, values))[0]);
  const execute = async (sql, values) => (driver === 'mariadb' ? connection.execute(sql, values) : (await connection.execute(sql, values))[0]);

  show('session', await query('SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode'));
  await pause();
  show('id', Number((await query('SELECT CONNECTION_ID()'))[0][0]) === connection.threadId);
  await query("SET time_zone = '+05:00'");
  await pause();
  show('time zone', await query('SELECT @@time_zone, FROM_UNIXTIME(0)'));
  await pause();

  const insert = `INSERT INTO ${DB_TABLE} (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?)`;
  for (const finish of ['rollback', 'commit']) {
    await connection.beginTransaction();
    for (const row of rows) show('insert', done(await query(insert, row)));
    show('in the transaction', await query(`SELECT COUNT(*) FROM ${DB_TABLE}`));
    await connection[finish]();
    await pause();
    show('last insert id', await query('SELECT LAST_INSERT_ID()'));
    show(finish, await query(`SELECT * FROM ${DB_TABLE} ORDER BY id`));
    await pause();
  }
  for (const finish of ['rollback', 'commit']) {
    await connection.beginTransaction();
    for (const row of rows) show('prepared insert', done(await execute(insert, row)));
    await connection[finish]();
    await pause();
  }
  // mariadb's own; before MariaDB it goes in bulk.
  for (let turn = 0; driver === 'mariadb' && turn < 2; turn += 1) {
    show('batch', (await connection.batch(insert, rows)).affectedRows, await query('SELECT LAST_INSERT_ID()'));
    await pause();
  }
  const statement = await connection.prepare(`SELECT * FROM ${DB_TABLE} WHERE id = ?`);
  for (const id of [4, 5, 6, 11, 100]) {
    const found = await statement.execute([id]);
    show('prepared select', driver === 'mariadb' ? found : found[0]);
    await pause();
  }
  await statement.close();
  for (const value of [1, 'ä€😀', null, 2.5, 3]) {
    show('type', await execute('SELECT CONCAT(?, 1)', [value]));
    await pause();
  }
  for (const run of [query, execute]) {
    for (const sql of [`INSERT INTO ${DB_TABLE} (id) VALUES (4)`, 'SELECT * FROM missing', 'SELECT 1 FROM']) {
      await run(sql).then((found) => show('no error', found), (error) => show('error', error.errno, error.sqlState));
      await pause();
    }
    show('many rows', digest(await run('SELECT * FROM numbers WHERE id > ?', [5])));
    await pause();
    const blob = Buffer.alloc(1 << 20, 'a\0é');
    show('large value', done(await run(`UPDATE ${DB_TABLE} SET data = ? WHERE id = ?`, [blob, 4])));
    show('large value', digest(await run(`SELECT data FROM ${DB_TABLE} WHERE id = ?`, [4])));
    await pause();
  }
  connection.release();
  await pool.end();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
