package peers;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceEnumerator;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceReader;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceSplit;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.util.InstantiationUtil;

/**
 * A file of records as a Flink source: a range of bytes per reader, read and parsed in the task's own thread. Quicker than
 * FileSource, which makes a String of each line in one thread and hands batches of them to another.
 */
public class RecordSource<E> implements Source<E, RecordSource.Range<E>, Collection<RecordSource.Range<E>>> {
  private static final long serialVersionUID = 1;

  private final String path;
  private final Format<E> format;
  private final boolean json;

  public RecordSource(String path, Format<E> format, boolean json) {
    this.path = path;
    this.format = format;
    this.json = json;
  }

  public record Range<E>(String path, Format<E> format, boolean json, long from, long to)
      implements IteratorSourceSplit<E, RecordReader<E>>, Serializable {
    @Override
    public String splitId() {
      return Long.toString(to);
    }

    @Override
    public RecordReader<E> getIterator() {
      return RecordReader.open(path, format, json, from, to);
    }

    @Override
    public Range<E> getUpdatedSplitForIterator(RecordReader<E> reader) {
      return new Range<>(path, format, json, reader.position(), to);
    }
  }

  @Override
  public Boundedness getBoundedness() {
    return Boundedness.BOUNDED;
  }

  @Override
  public SplitEnumerator<Range<E>, Collection<Range<E>>> createEnumerator(SplitEnumeratorContext<Range<E>> context) {
    try {
      long size = Files.size(Path.of(path));
      int readers = context.currentParallelism();
      List<Range<E>> ranges = new ArrayList<>();
      for (int i = 0; i < readers; i++) ranges.add(new Range<>(path, format, json, size * i / readers, size * (i + 1) / readers));
      return new IteratorSourceEnumerator<>(context, ranges);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  @Override
  public SplitEnumerator<Range<E>, Collection<Range<E>>> restoreEnumerator(SplitEnumeratorContext<Range<E>> context, Collection<Range<E>> ranges) {
    return new IteratorSourceEnumerator<>(context, ranges);
  }

  @Override
  public SourceReader<E, Range<E>> createReader(SourceReaderContext context) {
    return new IteratorSourceReader<>(context);
  }

  @Override
  public SimpleVersionedSerializer<Range<E>> getSplitSerializer() {
    return new JavaSerializer<>();
  }

  @Override
  public SimpleVersionedSerializer<Collection<Range<E>>> getEnumeratorCheckpointSerializer() {
    return new JavaSerializer<>();
  }

  private static final class JavaSerializer<T> implements SimpleVersionedSerializer<T> {
    @Override
    public int getVersion() {
      return 1;
    }

    @Override
    public byte[] serialize(T value) throws IOException {
      return InstantiationUtil.serializeObject(value);
    }

    @Override
    public T deserialize(int version, byte[] bytes) throws IOException {
      try {
        return InstantiationUtil.deserializeObject(bytes, RecordSource.class.getClassLoader());
      } catch (ClassNotFoundException error) {
        throw new IOException(error);
      }
    }
  }
}
