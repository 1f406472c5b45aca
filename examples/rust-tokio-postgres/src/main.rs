//! account STREAM [AMOUNT...]: deposits the amounts and prints the balance.

use std::env;
use std::error::Error;

use account::account::Account;
use deadpool_postgres::{Config, Runtime};
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::new();
    config.url = Some(env::var("DATABASE_URL")?);
    let pool = config.create_pool(Some(Runtime::Tokio1), NoTls)?;

    let mut arguments = env::args().skip(1);
    let stream_id = arguments
        .next()
        .ok_or("usage: account STREAM [AMOUNT...]")?;
    let client = pool.get().await?;
    let mut account = Account::load(&client, &stream_id, 100).await?;
    for amount in arguments {
        account.deposit(amount.parse()?).await?;
    }
    println!("{}", account.balance);
    Ok(())
}
