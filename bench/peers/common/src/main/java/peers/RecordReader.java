package peers;

import com.fasterxml.jackson.core.JsonParser;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.util.Iterator;

/** Reads the records of a file that begin in a range of its bytes, with one large buffer and one object for all. */
public abstract class RecordReader<E> implements Iterator<E> {
  private static final int BUFFER_BYTES = 1 << 20;

  final RandomAccessFile file;
  final Format<E> format;
  final E record;

  private RecordReader(RandomAccessFile file, Format<E> format) {
    this.file = file;
    this.format = format;
    record = format.create();
  }

  public static <E> RecordReader<E> open(String path, Format<E> format, boolean json, long from, long to) {
    try {
      RandomAccessFile file = new RandomAccessFile(path, "r");
      return json ? new Json<>(file, format, from, to) : new Binary<>(file, format, from, to);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Where in the file the next record begins, or the line feed before it. */
  public abstract long position();

  abstract boolean read() throws IOException;

  private boolean ready;

  @Override
  public boolean hasNext() {
    if (ready) return true;
    try {
      ready = read();
      if (!ready) file.close();
      return ready;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** The same object each time: valid until the next call. */
  @Override
  public E next() {
    if (!hasNext()) throw new java.util.NoSuchElementException();
    ready = false;
    return record;
  }

  private static final class Json<E> extends RecordReader<E> {
    private final long start;
    private final JsonParser parser;
    private long read;

    Json(RandomAccessFile file, Format<E> format, long from, long to) throws IOException {
      super(file, format);
      start = lineFrom(from);
      long end = lineFrom(to);
      file.seek(start);
      InputStream in = new BufferedInputStream(Channels.newInputStream(file.getChannel()), BUFFER_BYTES);
      parser = Format.JSON.createParser(new Limited(in, end - start));
    }

    /** The beginning of the first line at or after a position. */
    private long lineFrom(long position) throws IOException {
      if (position == 0) return 0;
      file.seek(position - 1);
      InputStream in = new BufferedInputStream(Channels.newInputStream(file.getChannel()));
      long at = position;
      for (int b; (b = in.read()) != -1 && b != '\n'; ) at++;
      return at;
    }

    @Override
    boolean read() throws IOException {
      read = start + parser.currentLocation().getByteOffset();
      if (parser.nextToken() == null) return false;
      format.json(parser, record);
      return true;
    }

    @Override
    public long position() {
      return super.ready ? read : start + parser.currentLocation().getByteOffset();
    }
  }

  private static final class Binary<E> extends RecordReader<E> {
    private final int bytes;
    private final FileChannel channel;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN).limit(0);
    private final long end;
    private long at;

    Binary(RandomAccessFile file, Format<E> format, long from, long to) throws IOException {
      super(file, format);
      bytes = format.binaryBytes();
      channel = file.getChannel();
      at = recordFrom(from);
      end = recordFrom(to);
      channel.position(at);
    }

    private long recordFrom(long position) {
      return (position + bytes - 1) / bytes * bytes;
    }

    @Override
    boolean read() throws IOException {
      if (at >= end) return false;
      while (buffer.remaining() < bytes) {
        buffer.compact();
        if (channel.read(buffer) < 0) throw new IOException("the file ends within a record");
        buffer.flip();
      }
      format.binary(buffer, record);
      at += bytes;
      return true;
    }

    @Override
    public long position() {
      return super.ready ? at - bytes : at;
    }
  }

  /** The first bytes of a stream. */
  private static final class Limited extends InputStream {
    private final InputStream in;
    private long left;

    Limited(InputStream in, long left) {
      this.in = in;
      this.left = left;
    }

    @Override
    public int read() throws IOException {
      return left-- <= 0 ? -1 : in.read();
    }

    @Override
    public int read(byte[] into, int offset, int length) throws IOException {
      if (left <= 0) return -1;
      int count = in.read(into, offset, (int) Math.min(length, left));
      left -= Math.max(count, 0);
      return count;
    }
  }
}
