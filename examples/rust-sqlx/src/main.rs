//! account STREAM [AMOUNT...]: deposits the amounts and prints the balance.

use std::env;
use std::error::Error;

use account::account::Account;
use account::store::Database;
use sqlx::PgPool;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = Database {
        pool: PgPool::connect(&env::var("DATABASE_URL")?).await?,
        transaction_pooling: false,
    };
    let mut arguments = env::args().skip(1);
    let stream_id = arguments
        .next()
        .ok_or("usage: account STREAM [AMOUNT...]")?;
    let mut account = Account::load(database, &stream_id, 100).await?;
    for amount in arguments {
        account.deposit(amount.parse()?).await?;
    }
    println!("{}", account.balance);
    Ok(())
}
