# States that are alike, for dictionaries to be trained on, and of which everybody knows what they
# must be: the state that order_state(n) makes belongs to sequence number n.
package PackedStates;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw($order_state $take_packed $train $packed $wrong);

our $order_state = q{
	CREATE FUNCTION order_state(n bigint) RETURNS json LANGUAGE sql IMMUTABLE
	RETURN json_build_object('order_id', n, 'customer', json_build_object('name', 'customer ' || n % 17, 'noise', md5(n::text)),
		'address', json_build_object('street', 'Long Street ' || n % 31, 'city', 'Springfield', 'country', 'Utopia'),
		'lines', (SELECT json_agg(json_build_object('product', 'product ' || (n * i) % 41, 'quantity', i, 'unit_price', 9.99, 'currency', 'EUR'))
			FROM generate_series(1, 8) AS i));
};

# What the table's owner does, and then has a dictionary for streams named order-...
our $take_packed = 'ALTER TABLE snapshot_store ALTER state TYPE snapshot_state';
our $train = q{SELECT snapshot_save('order-train-' || n, n, 1, order_state(n)) FROM generate_series(1, 200) AS n \g /dev/null
	SELECT number FROM snapshot_dictionary_train('order-')};

# How many are packed, and which are not what was saved.
our $packed = q{SELECT count(*) FROM snapshot_store WHERE pg_column_size(state) < octet_length(state::text) / 2};
our $wrong = q{
	SELECT string_agg(s.stream_id, ' ')
	FROM snapshot_store AS s LEFT JOIN LATERAL snapshot_load(s.stream_id, '{1}') AS l ON true
	WHERE s.stream_id LIKE 'order-%'
	AND (s.state::text = order_state(s.sequence_number)::text AND l.state::text = order_state(l.sequence_number)::text) IS NOT TRUE};

1;
