# Ruby's mysql2: a program as tests/drivers/process.py wants it.
require 'bigdecimal'
require 'date'
require 'digest'
require 'json'
require 'mysql2'

$stdout.sync = true

ROWS = [
  [1, BigDecimal('12345678.9012'), 0.5, Date.new(2024, 2, 29), Time.utc(2024, 2, 29, 12, 34, 56, 789_012), 'ä€😀', "\0\xff'".b],
  [-9_223_372_036_854_775_808, BigDecimal('-0.0001'), -1e300, Date.new(1000, 1, 1), Time.utc(9999, 12, 31, 23, 59, 59), '', ''.b],
  [nil, nil, nil, nil, nil, nil, nil],
].freeze

def plain(value)
  case value
  when Array then value.map { |each| plain(each) }
  when BigDecimal then value.to_s('F')
  when Time then value.strftime('%F %T.%6N')
  when Date then value.to_s
  when String then value.encoding == Encoding::BINARY ? value.unpack1('H*') : value
  else value
  end
end

def show(*values)
  puts JSON.generate(plain(values))
end

def pause
  puts '"pause"'
  $stdin.gets
end

TABLE = ENV.fetch('DB_TABLE')
settings = {
  host: ENV.fetch('DB_HOST'), port: ENV.fetch('DB_PORT').to_i, username: ENV.fetch('DB_USER'),
  password: ENV.fetch('DB_PASSWORD'), database: ENV.fetch('DB_SCHEMA'), encoding: 'utf8mb4',
  as: :array, database_timezone: :utc, cast_booleans: false
}
settings[:sslca] = ENV['DB_CA'] unless ENV['DB_CA'].empty?
client = Mysql2::Client.new(settings)
rows = ->(sql) { client.query(sql).to_a }

show('session', rows.('SELECT DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode'))
pause
show('id', rows.('SELECT CONNECTION_ID()') == [[client.thread_id]])
client.query("SET time_zone = '+05:00'")
pause
show('time zone', rows.('SELECT @@time_zone, FROM_UNIXTIME(0)'))
pause

insert = "INSERT INTO #{TABLE} (number, amount, ratio, day, moment, text, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
%w[ROLLBACK COMMIT].each do |finish|
  client.query('BEGIN')
  statement = client.prepare(insert)
  ROWS.each do |row|
    statement.execute(*row)
    show('insert', statement.affected_rows, statement.last_id)
  end
  statement.close
  show('in the transaction', rows.("SELECT COUNT(*) FROM #{TABLE}"))
  client.query(finish)
  pause
  show('last insert id', rows.('SELECT LAST_INSERT_ID()'))
  show(finish, rows.("SELECT * FROM #{TABLE} ORDER BY id"))
  pause
end
statement = client.prepare(insert)
ROWS.each do |row|
  statement.execute(*row)
  show('insert', statement.affected_rows, statement.last_id)
  pause
end
statement.close
statement = client.prepare("SELECT * FROM #{TABLE} WHERE id = ?")
[4, 5, 6, 7, 100].each do |id|
  show('select', statement.execute(id).to_a)
  pause
end
statement.close
statement = client.prepare('SELECT CONCAT(?, 1)')
[1, 'ä€😀', nil, 2.5, Date.new(2024, 2, 29), true].each do |value|
  show('type', statement.execute(value).to_a)
  pause
end
["INSERT INTO #{TABLE} (id) VALUES (4)", 'SELECT * FROM missing', 'SELECT 1 FROM'].each do |sql|
  [-> { client.query(sql) }, -> { client.prepare(sql).execute }].each do |run|
    begin
      run.call
      show('no error')
    rescue Mysql2::Error => e
      show('error', e.errno, e.sql_state)
    end
    pause
  end
end
show('many rows', Digest::SHA256.hexdigest(JSON.generate(rows.('SELECT * FROM numbers'))))
show('prepared', Digest::SHA256.hexdigest(JSON.generate(client.prepare('SELECT * FROM numbers WHERE id > ?').execute(5).to_a)))
pause
statement = client.prepare("UPDATE #{TABLE} SET data = ? WHERE id = 4")
statement.execute("a\0\xff'".b * (1 << 18))
show('large value', statement.affected_rows, Digest::SHA256.hexdigest(rows.("SELECT data FROM #{TABLE} WHERE id = 4")[0][0]))
pause
client.close
