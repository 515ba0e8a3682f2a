import java.io.File;
import java.util.Arrays;
import java.util.List;
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.transport.FilterSpec;
import org.eclipse.jgit.transport.PushResult;
import org.eclipse.jgit.transport.RefSpec;
import org.eclipse.jgit.transport.RemoteRefUpdate;
import org.eclipse.jgit.transport.TagOpt;

/** One step of JGit: clone URL FOLDER DEPTH FILTER, fetch FOLDER DEPTH, push FOLDER REFSPEC…. */
public final class Client {
  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "clone" -> clone(args[1], new File(args[2]), Integer.parseInt(args[3]), args[4]);
      case "fetch" -> fetch(new File(args[1]), Integer.parseInt(args[2]));
      case "push" -> push(new File(args[1]), Arrays.asList(args).subList(2, args.length));
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  private static void clone(String url, File folder, int depth, String filter) throws Exception {
    var command = Git.cloneRepository().setURI(url).setDirectory(folder).setTagOption(TagOpt.FETCH_TAGS);
    if (depth > 0) command.setDepth(depth);
    if (!filter.isEmpty()) {
      var spec = FilterSpec.fromFilterLine(filter);
      command.setNoCheckout(true).setTransportConfigCallback(transport -> transport.setFilterSpec(spec));
    }
    command.call().close();
  }

  private static void fetch(File folder, int depth) throws Exception {
    try (var git = Git.open(folder)) {
      var command = git.fetch().setTagOpt(TagOpt.FETCH_TAGS);
      if (depth > 0) command.setDepth(depth);
      command.call();
    }
  }

  private static void push(File folder, List<String> refspecs) throws Exception {
    try (var git = Git.open(folder)) {
      for (PushResult result : git.push().setRefSpecs(refspecs.stream().map(RefSpec::new).toList()).call()) {
        for (RemoteRefUpdate update : result.getRemoteUpdates()) {
          var status = update.getStatus();
          if (status != RemoteRefUpdate.Status.OK && status != RemoteRefUpdate.Status.UP_TO_DATE)
            throw new IllegalStateException(update + ": " + result.getMessages());
        }
      }
    }
  }
}
