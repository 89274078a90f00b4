# Rails' ActiveRecord: a program as tests/drivers/process.py wants it. "prepared": with prepared statements.
require 'active_record'
require 'bigdecimal'
require 'digest'
require 'json'

$stdout.sync = true

def show(*values)
  puts values.to_json
end

def pause
  puts '"pause"'
  $stdin.gets
end

settings = {
  adapter: 'mysql2', host: ENV.fetch('DB_HOST'), port: ENV.fetch('DB_PORT').to_i, username: ENV.fetch('DB_USER'),
  password: ENV.fetch('DB_PASSWORD'), database: ENV.fetch('DB_SCHEMA'), encoding: 'utf8mb4', pool: 1,
  prepared_statements: ARGV[0] == 'prepared'
}
settings[:sslca] = ENV['DB_CA'] unless ENV['DB_CA'].empty?
ActiveRecord::Base.establish_connection(settings)

class Row < ActiveRecord::Base
  self.table_name = ENV.fetch('DB_TABLE')
end

rows = [
  { number: 1, amount: BigDecimal('12345678.9012'), ratio: 0.5, day: Date.new(2024, 2, 29),
    moment: Time.utc(2024, 2, 29, 12, 34, 56, 789_012), text: 'ä€😀', data: "\0'".b },
  { number: -9_223_372_036_854_775_808, amount: BigDecimal('-0.0001'), ratio: -1e300, day: Date.new(1000, 1, 1),
    moment: Time.utc(9999, 12, 31, 23, 59, 59), text: '', data: ''.b },
  { number: nil }
]
rows.each do |row|
  show('created', Row.create!(row).id)
  pause
end
show('rows', Row.order(:id).to_a)
pause
Row.transaction do
  row = Row.lock.find(1)
  row.update!(text: 'changed ä€😀')
  begin
    Row.transaction(requires_new: true) { Row.create!(id: 1) }
  rescue ActiveRecord::RecordNotUnique => e
    show('error', e.class.name)
  end
  Row.where(id: 2).update_all(number: 7)
end
pause
Row.transaction do
  Row.delete_all
  raise ActiveRecord::Rollback
end
show('rolled back', Row.count)
pause
Row.transaction(isolation: :serializable) { show('serializable', Row.where(number: 7).pluck(:id)) }
pause
show('many', Row.insert_all((1..50).map { |number| { text: "many #{number}" } }).rows)
pause
show('found', Row.find_or_create_by!(text: 'many 7').number, Row.find_or_create_by!(text: 'new').id)
pause
Row.find_each(batch_size: 20) { |row| show('each', row.id) if (row.id % 10).zero? }
pause
show('sum', Row.sum(:number), Row.maximum(:text), Row.exists?(text: 'many 3'))
pause
show('deleted', Row.where('text LIKE ?', 'many%').delete_all)
pause
show('numbers', Digest::SHA256.hexdigest(Row.connection.select_rows('SELECT * FROM numbers').to_json))
show('session', Row.connection.select_rows('SELECT @@sql_mode, @@wait_timeout, @@collation_connection'))
pause
show('active', Row.connection.active?)
ActiveRecord::Base.connection_pool.disconnect!
