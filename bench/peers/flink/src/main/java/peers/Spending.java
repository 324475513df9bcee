package peers;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;

/** The first of two stages: what a customer has spent, and the band that follows from it. */
public final class Spending implements Total<Order>, ByHand<Spending> {
  private static final int BAND_CENTS = 100_000;
  private static final int BANDS = 1_000;

  public long count;
  public long cents;
  public int band;

  @Override
  public void add(Order order) {
    count++;
    cents += order.amountCents;
    band = (int) (cents / BAND_CENTS % BANDS);
  }

  @Override
  public long events() {
    return count;
  }

  @Override
  public String text(Object id) {
    return id + "|" + count + "|" + cents + "|" + band;
  }

  @Override
  public Spending fresh() {
    return new Spending();
  }

  @Override
  public void copyFrom(Spending other) {
    count = other.count;
    cents = other.cents;
    band = other.band;
  }

  @Override
  public void write(DataOutput out) throws IOException {
    out.writeLong(count);
    out.writeLong(cents);
    out.writeInt(band);
  }

  @Override
  public void read(DataInput in) throws IOException {
    count = in.readLong();
    cents = in.readLong();
    band = in.readInt();
  }

  /** What the second stage is told: a row of the first came (+1) or went (-1). */
  public static final class Change implements ByHand<Change> {
    public int band;
    public long cents;
    public byte sign;

    Change set(Spending row, int sign) {
      band = row.band;
      cents = row.cents;
      this.sign = (byte) sign;
      return this;
    }

    @Override
    public Change fresh() {
      return new Change();
    }

    @Override
    public void copyFrom(Change other) {
      band = other.band;
      cents = other.cents;
      sign = other.sign;
    }

    @Override
    public void write(DataOutput out) throws IOException {
      out.writeInt(band);
      out.writeLong(cents);
      out.writeByte(sign);
    }

    @Override
    public void read(DataInput in) throws IOException {
      band = in.readInt();
      cents = in.readLong();
      sign = in.readByte();
    }
  }

  /** The second stage: the customers of a band. */
  public static final class Band implements Total<Change>, ByHand<Band> {
    public long customers;
    public long cents;

    @Override
    public void add(Change change) {
      customers += change.sign;
      cents += change.sign * change.cents;
    }

    @Override
    public long events() {
      return 0;
    }

    @Override
    public int eventsIn(Change change) {
      return change.sign > 0 ? 1 : 0;
    }

    @Override
    public boolean nothingLeft() {
      return customers == 0;
    }

    @Override
    public String text(Object band) {
      return band + "|" + customers + "|" + cents;
    }

    @Override
    public Band fresh() {
      return new Band();
    }

    @Override
    public void copyFrom(Band other) {
      customers = other.customers;
      cents = other.cents;
    }

    @Override
    public void write(DataOutput out) throws IOException {
      out.writeLong(customers);
      out.writeLong(cents);
    }

    @Override
    public void read(DataInput in) throws IOException {
      customers = in.readLong();
      cents = in.readLong();
    }
  }
}
