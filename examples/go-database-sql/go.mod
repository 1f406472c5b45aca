module example.com/account

go 1.21.0

require github.com/lib/pq v1.12.3
