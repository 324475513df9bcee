"""Calls a running test shop by the client that openapi-python-client has made of its document; says what it got, as JSON."""

import datetime
import json
import sys

from shop_client import Client
from shop_client.api.topics import append_purchases, append_seatings
from shop_client.api.views import get_seats, get_spending, lookup_seats, range_rows, range_seats
from shop_client.models import (
    LookupSeatsBody,
    LookupSeatsBodyKeysItem,
    PurchasesRecord,
    RangeSeatsOrder,
    SeatingsRecord,
)

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
at = datetime.datetime(2026, 11, 1, 9, 0, 0, 123000, tzinfo=datetime.timezone.utc)


def sitting(show, seat, id):
    return SeatingsRecord(show=show, seat=seat, holder=None, at=at, id=str(id))


appended = append_seatings.sync(
    client=client, body=[sitting("hamlet", 1, 7), sitting("hamlet", 2, 2**65), sitting("a,b", 1, 7)]
)
row = get_seats.sync(client=client, key="hamlet,2", after=[appended.token])
many = lookup_seats.sync(
    client=client,
    body=LookupSeatsBody(
        keys=[LookupSeatsBodyKeysItem(show=show, seat=1) for show in ["a,b", "none"]]
    ),
)
seats = range_seats.sync(client=client, prefix="hamlet", order=RangeSeatsOrder.DESC)
first = range_rows.sync(client=client, where_count_gte=1, limit=1)
second = range_rows.sync(client=client, where_count_gte=1, limit=1, cursor=first.cursor)

purchase = PurchasesRecord(customer="ada", cents=5)
keyed = [append_purchases.sync(client=client, body=purchase, idempotency_key="r-1") for _ in range(2)]
spent = get_spending.sync(client=client, key="ada", after=[keyed[1].token])
reused = append_purchases.sync_detailed(
    client=client, body=PurchasesRecord(customer="ada", cents=6), idempotency_key="r-1"
)
absent = get_spending.sync_detailed(client=client, key="nobody")
late = get_spending.sync_detailed(client=client, key="ada", after=["999999"], timeout_ms=1)
wrong = get_seats.sync_detailed(client=client, key="hamlet")

print(
    json.dumps(
        {
            "positions": appended.positions,
            "row": [row.key.to_dict(), row.value.ids, row.value.at == at, row.value.tags, row.final],
            "many": [each.value and each.value.ids for each in many.values],
            "seats": [each.key.seat for each in seats.rows],
            "pages": [[each.key for each in page.rows] for page in [first, second]],
            "keyed": keyed[0] == keyed[1],
            "spent": spent.value.to_dict(),
            "problems": [
                [answer.status_code, answer.parsed.code, answer.parsed.retriable]
                for answer in [reused, absent, late, wrong]
            ],
        }
    )
)
