package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import java.net.InetSocketAddress;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/**
 * Interactive queries as one writes them oneself: the customers of StreamsPeer, looked up on the event loop of an HTTP server
 * ({@code GET …/ID}). Prints its port when all events are in; a line of stdin is answered with the CPU that was used so far.
 *
 * As StreamsPeer, without --warmup and --broker-pid.
 */
public final class StreamsReads {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final int THREADS = 2;
  private static final int BODY_BYTES_MAX = 65_536;

  public static void main(String[] words) throws Exception {
    Arguments arguments = new Arguments(words);
    long events = arguments.number("events");
    AtomicLong processed = new AtomicLong();
    CountDownLatch all = new CountDownLatch(1);
    KafkaStreams streams = new KafkaStreams(
        StreamsPeer.topology(arguments, () -> {
          if (processed.incrementAndGet() == events) all.countDown();
        }),
        StreamsPeer.settings(arguments));
    streams.start();
    all.await();
    ReadOnlyKeyValueStore<Integer, Customer> store =
        streams.store(StoreQueryParameters.fromNameAndType(StreamsPeer.STORE, QueryableStoreTypes.keyValueStore()));
    System.out.println("http://127.0.0.1:" + listen(store));
    while (System.in.read() != -1) {
      System.in.skip(System.in.available());
      System.out.println("{\"cpuSeconds\":" + Usage.cpuSeconds(ProcessHandle.current().pid()) + ",\"rss\":" + Usage.statusBytes("VmRSS") + "}");
    }
    Runtime.getRuntime().halt(0);
  }

  private static int listen(ReadOnlyKeyValueStore<Integer, Customer> store) throws Exception {
    boolean epoll = Epoll.isAvailable();
    var factory = epoll ? EpollIoHandler.newFactory() : NioIoHandler.newFactory();
    var channel = new ServerBootstrap()
        .group(new MultiThreadIoEventLoopGroup(1, factory), new MultiThreadIoEventLoopGroup(THREADS, factory))
        .channel(epoll ? EpollServerSocketChannel.class : NioServerSocketChannel.class)
        .childOption(ChannelOption.TCP_NODELAY, true)
        .childHandler(new ChannelInitializer<SocketChannel>() {
          @Override
          protected void initChannel(SocketChannel socket) {
            socket.pipeline().addLast(new HttpServerCodec(), new HttpObjectAggregator(BODY_BYTES_MAX), new Reads(store));
          }
        })
        .bind("127.0.0.1", 0)
        .sync()
        .channel();
    return ((InetSocketAddress) channel.localAddress()).getPort();
  }

  private static final class Reads extends SimpleChannelInboundHandler<FullHttpRequest> {
    private final ReadOnlyKeyValueStore<Integer, Customer> store;

    Reads(ReadOnlyKeyValueStore<Integer, Customer> store) {
      this.store = store;
    }

    @Override
    protected void channelRead0(ChannelHandlerContext context, FullHttpRequest request) throws Exception {
      String uri = request.uri();
      int key = Integer.parseInt(uri.substring(uri.lastIndexOf('/') + 1));
      Customer customer = store.get(key);
      HttpResponseStatus status = customer == null ? HttpResponseStatus.NOT_FOUND : HttpResponseStatus.OK;
      byte[] body = customer == null ? new byte[0] : MAPPER.writeValueAsBytes(row(key, customer));
      FullHttpResponse response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, status, Unpooled.wrappedBuffer(body));
      response.headers().set(HttpHeaderNames.CONTENT_TYPE, "application/json; charset=utf-8").setInt(HttpHeaderNames.CONTENT_LENGTH, body.length);
      context.write(response, context.voidPromise());
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext context) {
      context.flush();
    }

    private static ObjectNode row(int key, Customer customer) {
      ObjectNode row = MAPPER.createObjectNode().put("key", key);
      ObjectNode value = row.putObject("value").put("count", customer.count).put("cents", customer.sumCents);
      value.putObject("by")
          .put("placed", customer.placed)
          .put("paid", customer.paid)
          .put("shipped", customer.shipped)
          .put("cancelled", customer.cancelled);
      value.put("last", customer.lastUpdatedAt);
      return row;
    }
  }
}
