package peers;

import com.fasterxml.jackson.annotation.JsonSetter;
import com.fasterxml.jackson.core.JsonParser;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;

/** One of four types of events, with the fields of all of them: Flink has a quick way for one class, not for a union. */
public final class Event implements ByHand<Event> {
  static final Format<Event> FORMAT = new Lines();

  private static final String[] TYPES = {"Placed", "Paid", "Shipped", "Cancelled"};

  /** Index in TYPES. */
  public int type;
  public long orderId;
  public int customerId;
  public long updatedAt;
  public int items;
  public int amountCents;
  public int weightGrams;
  public int refundCents;

  /** For Jackson's data binding. */
  @JsonSetter("type")
  public void readType(String name) {
    type = typeOf(name);
  }

  private static int typeOf(String name) {
    for (int i = 0; i < TYPES.length; i++) {
      if (TYPES[i].equals(name)) return i;
    }
    throw new IllegalArgumentException("no type: " + name);
  }

  private static final class Lines implements Format<Event> {
    private static final long serialVersionUID = 1;

    @Override
    public Event create() {
      return new Event();
    }

    @Override
    public void json(JsonParser parser, Event event) throws IOException {
      for (String field; (field = parser.nextFieldName()) != null; ) {
        parser.nextToken();
        switch (field) {
          case "type" -> event.type = typeOf(parser.getText());
          case "order_id" -> event.orderId = parser.getLongValue();
          case "customer_id" -> event.customerId = parser.getIntValue();
          case "updated_at" -> event.updatedAt = parser.getLongValue();
          case "items" -> event.items = parser.getIntValue();
          case "amount_cents" -> event.amountCents = parser.getIntValue();
          case "weight_grams" -> event.weightGrams = parser.getIntValue();
          case "refund_cents" -> event.refundCents = parser.getIntValue();
          default -> parser.skipChildren();
        }
      }
    }
  }

  @Override
  public Event fresh() {
    return new Event();
  }

  @Override
  public void copyFrom(Event other) {
    type = other.type;
    orderId = other.orderId;
    customerId = other.customerId;
    updatedAt = other.updatedAt;
    items = other.items;
    amountCents = other.amountCents;
    weightGrams = other.weightGrams;
    refundCents = other.refundCents;
  }

  /** Only what its type has. */
  @Override
  public void write(DataOutput out) throws IOException {
    out.writeByte(type);
    out.writeLong(orderId);
    out.writeInt(customerId);
    out.writeLong(updatedAt);
    switch (type) {
      case 0 -> {
        out.writeInt(items);
        out.writeInt(amountCents);
      }
      case 1 -> out.writeInt(amountCents);
      case 2 -> out.writeInt(weightGrams);
      default -> out.writeInt(refundCents);
    }
  }

  @Override
  public void read(DataInput in) throws IOException {
    type = in.readByte();
    orderId = in.readLong();
    customerId = in.readInt();
    updatedAt = in.readLong();
    switch (type) {
      case 0 -> {
        items = in.readInt();
        amountCents = in.readInt();
      }
      case 1 -> amountCents = in.readInt();
      case 2 -> weightGrams = in.readInt();
      default -> refundCents = in.readInt();
    }
  }
}
