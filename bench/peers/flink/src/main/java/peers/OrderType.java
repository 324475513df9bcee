package peers;

import java.io.IOException;
import java.util.Objects;
import org.apache.flink.api.common.serialization.SerializerConfig;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** Tells Flink how to write an order by hand, which is quicker than its serializer of POJOs: that one goes through reflection. */
public final class OrderType extends TypeInformation<Order> {
  private static final long serialVersionUID = 1;
  private static final int FIELDS = 5;

  @Override
  public boolean isBasicType() {
    return false;
  }

  @Override
  public boolean isTupleType() {
    return false;
  }

  @Override
  public int getArity() {
    return FIELDS;
  }

  @Override
  public int getTotalFields() {
    return FIELDS;
  }

  @Override
  public Class<Order> getTypeClass() {
    return Order.class;
  }

  @Override
  public boolean isKeyType() {
    return false;
  }

  @Override
  public TypeSerializer<Order> createSerializer(SerializerConfig config) {
    return new Serializer();
  }

  @Override
  public String toString() {
    return "Order";
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof OrderType;
  }

  @Override
  public int hashCode() {
    return Objects.hash(OrderType.class);
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof OrderType;
  }

  public static final class Serializer extends TypeSerializerSingleton<Order> {
    private static final long serialVersionUID = 1;
    private static final int BYTES = 2 * Long.BYTES + 3 * Integer.BYTES;

    @Override
    public boolean isImmutableType() {
      return false;
    }

    @Override
    public Order createInstance() {
      return new Order();
    }

    @Override
    public Order copy(Order from) {
      return copy(from, new Order());
    }

    @Override
    public Order copy(Order from, Order to) {
      to.orderId = from.orderId;
      to.customerId = from.customerId;
      to.status = from.status;
      to.amountCents = from.amountCents;
      to.updatedAt = from.updatedAt;
      return to;
    }

    @Override
    public int getLength() {
      return BYTES;
    }

    @Override
    public void serialize(Order order, DataOutputView out) throws IOException {
      out.writeLong(order.orderId);
      out.writeInt(order.customerId);
      out.writeInt(order.status);
      out.writeInt(order.amountCents);
      out.writeLong(order.updatedAt);
    }

    @Override
    public Order deserialize(DataInputView in) throws IOException {
      return deserialize(new Order(), in);
    }

    @Override
    public Order deserialize(Order order, DataInputView in) throws IOException {
      order.orderId = in.readLong();
      order.customerId = in.readInt();
      order.status = in.readInt();
      order.amountCents = in.readInt();
      order.updatedAt = in.readLong();
      return order;
    }

    @Override
    public void copy(DataInputView in, DataOutputView out) throws IOException {
      out.write(in, BYTES);
    }

    @Override
    public TypeSerializerSnapshot<Order> snapshotConfiguration() {
      return new Snapshot();
    }
  }

  public static final class Snapshot extends SimpleTypeSerializerSnapshot<Order> {
    public Snapshot() {
      super(Serializer::new);
    }
  }
}
