package peers;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;

/** What the four types of events come to for a customer. */
public final class Account implements Total<Event>, ByHand<Account> {
  public int placed;
  public long items;
  public long placedCents;
  public int paid;
  public long paidCents;
  public int shipped;
  public long grams;
  public int cancelled;
  public long refundCents;
  public long last;

  @Override
  public void add(Event event) {
    switch (event.type) {
      case 0 -> {
        placed++;
        items += event.items;
        placedCents += event.amountCents;
      }
      case 1 -> {
        paid++;
        paidCents += event.amountCents;
      }
      case 2 -> {
        shipped++;
        grams += event.weightGrams;
      }
      default -> {
        cancelled++;
        refundCents += event.refundCents;
      }
    }
    last = event.updatedAt;
  }

  @Override
  public long events() {
    return placed + paid + shipped + cancelled;
  }

  @Override
  public String text(Object id) {
    return id + "|" + placed + "|" + items + "|" + placedCents + "|" + paid + "|" + paidCents + "|" + shipped + "|" + grams
        + "|" + cancelled + "|" + refundCents + "|" + last;
  }

  @Override
  public Account fresh() {
    return new Account();
  }

  @Override
  public void copyFrom(Account other) {
    placed = other.placed;
    items = other.items;
    placedCents = other.placedCents;
    paid = other.paid;
    paidCents = other.paidCents;
    shipped = other.shipped;
    grams = other.grams;
    cancelled = other.cancelled;
    refundCents = other.refundCents;
    last = other.last;
  }

  @Override
  public void write(DataOutput out) throws IOException {
    out.writeInt(placed);
    out.writeLong(items);
    out.writeLong(placedCents);
    out.writeInt(paid);
    out.writeLong(paidCents);
    out.writeInt(shipped);
    out.writeLong(grams);
    out.writeInt(cancelled);
    out.writeLong(refundCents);
    out.writeLong(last);
  }

  @Override
  public void read(DataInput in) throws IOException {
    placed = in.readInt();
    items = in.readLong();
    placedCents = in.readLong();
    paid = in.readInt();
    paidCents = in.readLong();
    shipped = in.readInt();
    grams = in.readLong();
    cancelled = in.readInt();
    refundCents = in.readLong();
    last = in.readLong();
  }
}
