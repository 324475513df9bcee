package peers;

import com.fasterxml.jackson.annotation.JsonSetter;
import com.fasterxml.jackson.core.JsonParser;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import org.apache.flink.types.StringValue;

/** An order whose customer has a UUID, as text. */
public final class UuidOrder extends Order {
  public String customer;

  /** For Jackson's data binding. */
  @JsonSetter("customer_id")
  public void readCustomer(String text) {
    customer = text;
  }

  @Override
  void readCustomer(JsonParser parser) throws IOException {
    customer = parser.getText();
  }

  @Override
  public Order fresh() {
    return new UuidOrder();
  }

  @Override
  public void copyFrom(Order other) {
    super.copyFrom(other);
    customer = ((UuidOrder) other).customer;
  }

  @Override
  public void write(DataOutput out) throws IOException {
    super.write(out);
    StringValue.writeString(customer, out);
  }

  @Override
  public void read(DataInput in) throws IOException {
    super.read(in);
    customer = StringValue.readString(in);
  }
}
