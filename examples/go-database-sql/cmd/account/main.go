// Command account deposits amounts and prints the balance: account STREAM [AMOUNT...].
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"strconv"

	"example.com/account"
	_ "github.com/lib/pq"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: account STREAM [AMOUNT...]")
	}
	ctx := context.Background()
	// In the URL, lib/pq needs sslmode=disable where the server has no TLS, and behind PgBouncer in transaction
	// mode binary_parameters=yes: otherwise it may run another statement than it was given.
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	a, err := account.Load(ctx, db, os.Args[1], 100)
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
