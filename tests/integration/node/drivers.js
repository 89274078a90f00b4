// Runs Node's drivers for the tests. A request is a line of JSON on standard input, its answer one on standard output:
// {"result": ...} or {"error": ...}. Requests run one by one; sessions are told apart by the ids that connect() gives.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const readline = require('node:readline');

const TIMEOUT = 30000; // milliseconds
const LONG = 1 << 20; // of longer texts only the length and the hash go back

// What both drivers call by the same names.
const shared = (o) => ({
  host: o.host,
  port: o.port,
  user: o.user,
  password: o.password,
  database: o.database,
  charset: o.charset,
  multipleStatements: o.multipleStatements,
  compress: Boolean(o.compress),
  dateStrings: true,
  rowsAsArray: true,
});

// What the two drivers do in different words.
const mysql2 = {
  connect: (o) =>
    require('mysql2/promise').createConnection({
      ...shared(o),
      flags: o.foundRows ? ['FOUND_ROWS'] : ['-FOUND_ROWS'],
      ssl: o.ca && { ca: fs.readFileSync(o.ca), verifyIdentity: true },
      infileStreamFactory: (path) => fs.createReadStream(path),
    }),
  results([found, fields]) {
    const several = Array.isArray(fields) && fields.length > 0 && !(fields[0] && fields[0].name !== undefined);
    return several ? found.map((one, i) => this.result(one, fields[i])) : [this.result(found, fields)];
  },
  result(found, fields) {
    if (!Array.isArray(found)) return done(found);
    return { rows: found, columns: fields.map((field) => [field.name, field.columnType]) };
  },
  version: (c) => c.connection._handshakePacket.serverVersion,
  stream: (c, sql) => c.connection.query(sql).stream(),
  insertMany: (c, table, rows) => c.query(`INSERT INTO ${table} (value, text) VALUES ?`, [rows]),
};

const mariadb = {
  connect: (o) =>
    require('mariadb').createConnection({
      ...shared(o),
      foundRows: Boolean(o.foundRows),
      ssl: o.ca && { ca: fs.readFileSync(o.ca) },
      allowPublicKeyRetrieval: true,
      permitLocalInfile: o.localInfile !== false,
    }),
  results(found) {
    return Array.isArray(found) && !found.meta ? found.map(this.result) : [this.result(found)];
  },
  result(found) {
    if (!Array.isArray(found)) return done(found);
    return { rows: found, columns: found.meta.map((column) => [column.name(), column.type]) };
  },
  version: (c) => c.serverVersion(),
  stream: (c, sql) => c.queryStream(sql),
  insertMany: (c, table, rows) => c.batch(`INSERT INTO ${table} (value, text) VALUES (?, ?)`, rows),
};

const done = (ok) => ({ affected: ok.affectedRows, insertId: Number(ok.insertId), warnings: ok.warningStatus });

const drivers = { mysql2, mariadb };
const sessions = new Map();

const commands = {
  async connect({ driver, options }) {
    const connection = await drivers[driver].connect(options);
    connection.on('error', () => {}); // what breaks is told by the command that meets it
    const id = sessions.size + 1;
    sessions.set(id, { connection, driver: drivers[driver] });
    return { id, version: drivers[driver].version(connection) };
  },
  query: async ({ connection, driver, sql, values }) =>
    driver.results(await connection.query(sql, values && values.map(decoded))),
  execute: async ({ connection, driver, sql, values }) =>
    driver.results(await connection.execute(sql, values.map(decoded))),
  // One statement, prepared once, executed with each of several lists of values, and closed.
  async prepared({ connection, driver, sql, lists }) {
    const statement = await connection.prepare(sql);
    const found = [];
    for (const values of lists) found.push(driver.results(await statement.execute(values.map(decoded)))[0]);
    await statement.close();
    return found;
  },
  async stream({ connection, driver, sql }) {
    let count = 0;
    let sum = 0;
    for await (const row of driver.stream(connection, sql)) {
      count += 1;
      sum += Number(row[0]);
    }
    return [count, sum];
  },
  insertMany: async ({ connection, driver, table, rows }) =>
    driver.results(await driver.insertMany(connection, table, rows)),
  // Commands that are given to the driver at once, before the first is answered.
  atOnce: ({ connection, driver, statements }) =>
    Promise.all(
      statements.map((sql) => connection.query(sql).then((found) => driver.results(found)[0], (error) => failed(error))),
    ),
  begin: ({ connection }) => connection.beginTransaction().then(() => null),
  commit: ({ connection }) => connection.commit().then(() => null),
  rollback: ({ connection }) => connection.rollback().then(() => null),
  ping: ({ connection }) => connection.ping().then(() => null),
  reset: ({ connection }) => connection.reset().then(() => null),
  changeUser: ({ connection, options }) => connection.changeUser(options).then(() => null),
  close: ({ connection, session }) => {
    sessions.delete(session);
    return connection.end().then(() => null);
  },
};

function decoded(value) {
  if (value && Array.isArray(value.repeat)) return value.repeat[0].repeat(value.repeat[1]);
  if (value && typeof value.hex === 'string') return Buffer.from(value.hex, 'hex');
  return value;
}

function encoded(key, value) {
  if (typeof value === 'bigint') return value <= Number.MAX_SAFE_INTEGER ? Number(value) : { bigint: String(value) };
  if (value && value.type === 'Buffer') return { hex: Buffer.from(value.data).toString('hex') };
  if (typeof value === 'string' && value.length > LONG) {
    return { length: value.length, sha256: crypto.createHash('sha256').update(value).digest('hex') };
  }
  return value;
}

const failed = (error) => ({
  error: { code: error.errno, sqlstate: error.sqlState, message: error.sqlMessage || error.message },
});

async function answer(line) {
  const request = JSON.parse(line);
  const tooLate = noLaterThan(TIMEOUT);
  try {
    const work = commands[request.command]({ ...request, ...sessions.get(request.session) });
    return { result: await Promise.race([work, tooLate.promise]) };
  } catch (error) {
    return failed(error);
  } finally {
    clearTimeout(tooLate.timer);
  }
}

function noLaterThan(time) {
  let timer;
  const promise = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('the driver has not answered')), time);
  });
  return { promise, timer };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(line), encoded)}\n`);
  }
  process.exit(0);
}

main();
