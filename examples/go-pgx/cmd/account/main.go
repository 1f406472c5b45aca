// Command account deposits amounts and prints the balance: account STREAM [AMOUNT...].
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"example.com/account"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: account STREAM [AMOUNT...]")
	}
	ctx := context.Background()
	// PgBouncer in transaction mode before 1.21 needs ?default_query_exec_mode=cache_describe.
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	a, err := account.Load(ctx, pool, os.Args[1], 100)
	if err != nil {
		log.Fatal(err)
	}
	for _, argument := range os.Args[2:] {
		amount, err := strconv.ParseInt(argument, 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		if err := a.Deposit(ctx, amount); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(a.Balance)
}
