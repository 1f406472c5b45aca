use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Error, PgPool, Postgres};

#[derive(Clone)]
pub struct Database {
    pub pool: PgPool,
    /// Behind PgBouncer in transaction mode. sqlx asks for the types of a statement before it runs it, and only
    /// within a transaction of several statements both are on one connection.
    pub transaction_pooling: bool,
}

impl Database {
    /// Runs a statement as a transaction of its own.
    pub async fn fetch(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        if !self.transaction_pooling {
            return query.fetch_all(&self.pool).await;
        }
        let mut transaction = self.pool.begin().await?;
        let rows = query.persistent(false).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    pub async fn fetch_one(&self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow, Error> {
        self.fetch(query).await?.pop().ok_or(Error::RowNotFound)
    }
}
