import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreeScanner;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import javax.lang.model.element.Modifier;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.JavaFileManager;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * Compiles one source after another, in a box of its own where no compiled program ever runs.
 *
 * <p>Lines on descriptor 3, sources and contents in base64. Arguments: the folder of the guests' sources, and the
 * class path of programs.
 *
 * <pre>
 * guests             ok NAME:CLASS ...            the guests' own classes
 * compile SOURCE     ok MAIN NAME:CLASS ...       MAIN is the class with the last `main`, or -
 * evaluate SOURCE    ok LINES                     what `Expected.report()` of the source reports
 *                    error TEXT                   the first error
 * </pre>
 */
final class CompileServer {
    private static final List<String> OPTIONS = List.of(
            "-proc:none", // or a processor on the class path would run here
            "-implicit:none",
            "-nowarn",
            "-Xlint:none",
            "-XDstringConcat=inline"); // of the other way, most of the time to start a program is spent

    private final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final StandardJavaFileManager files =
            compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
    private final List<String> options = new ArrayList<>(OPTIONS);
    private final Map<String, byte[]> guests;

    private CompileServer(Path sources, String classPath) throws IOException {
        options.addAll(List.of("-classpath", classPath));
        Map<String, byte[]> classes = new LinkedHashMap<>();
        List<JavaFileObject> units = new ArrayList<>();
        for (String name : List.of("Channel", "Plain", "Platform", "Report", "Joined")) {
            units.add(new Source(Files.readString(sources.resolve("derailleur/" + name + ".java"))));
        }
        compiler.getTask(null, new Memory(files, classes), new DiagnosticCollector<>(), options, null, units).call();
        guests = classes;
        Path folder = Files.createDirectories(Path.of("guests", "derailleur")).getParent();
        for (Map.Entry<String, byte[]> entry : classes.entrySet()) {
            Files.write(folder.resolve(entry.getKey().replace('.', '/') + ".class"), entry.getValue());
        }
        options.set(options.size() - 1, classPath + ":" + folder);
    }

    public static void main(String[] arguments) throws Exception {
        Constructor<FileDescriptor> constructor = FileDescriptor.class.getDeclaredConstructor(int.class);
        constructor.setAccessible(true);
        FileDescriptor channel = constructor.newInstance(3);
        BufferedReader in = new BufferedReader(new InputStreamReader(new FileInputStream(channel)));
        FileOutputStream out = new FileOutputStream(channel);
        CompileServer server = new CompileServer(Path.of(arguments[0]), arguments[1]);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.write((server.answer(line.split(" ")) + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }

    private String answer(String[] request) {
        try {
            if (request[0].equals("guests")) {
                return "ok" + packed(guests);
            }
            String source = new String(Base64.getDecoder().decode(request[1]), StandardCharsets.UTF_8);
            Map<String, byte[]> classes = new LinkedHashMap<>();
            String main = compile(source, classes);
            return request[0].equals("compile")
                    ? "ok " + main + packed(classes)
                    : "ok " + encoded(report(classes).getBytes(StandardCharsets.UTF_8));
        } catch (StackOverflowError error) {
            return "error " + encoded("nested too deeply".getBytes(StandardCharsets.UTF_8));
        } catch (Exception error) {
            String text = error instanceof CompileError ? error.getMessage() : error.toString();
            return "error " + encoded(text.getBytes(StandardCharsets.UTF_8));
        }
    }

    /** Adds the compiled classes to `classes`; returns the class with the last `main`. */
    private String compile(String source, Map<String, byte[]> classes) throws CompileError, IOException {
        DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
        List<JavaFileObject> units = List.of(new Source(source));
        JavacTask task = (JavacTask)
                compiler.getTask(null, new Memory(files, classes), diagnostics, options, null, units);
        MainFinder finder = new MainFinder();
        for (CompilationUnitTree unit : task.parse()) {
            finder.scan(unit, null);
        }
        task.generate();
        for (Diagnostic<?> diagnostic : diagnostics.getDiagnostics()) {
            if (diagnostic.getKind() == Diagnostic.Kind.ERROR) {
                throw new CompileError("line " + diagnostic.getLineNumber() + ": " + diagnostic.getMessage(null));
            }
        }
        return finder.main;
    }

    /** Runs `Expected.report()`, which has no program's code in it. */
    private String report(Map<String, byte[]> classes) throws ReflectiveOperationException {
        classes.putAll(guests);
        ClassLoader loader = new ClassLoader(CompileServer.class.getClassLoader()) {
            @Override
            protected Class<?> findClass(String name) throws ClassNotFoundException {
                byte[] content = classes.get(name);
                if (content == null) {
                    throw new ClassNotFoundException(name);
                }
                return defineClass(name, content, 0, content.length);
            }
        };
        StringBuilder lines = new StringBuilder();
        Method to = loader.loadClass("derailleur.Report").getDeclaredMethod("to", StringBuilder.class);
        to.setAccessible(true);
        to.invoke(null, lines);
        Method report = loader.loadClass("Expected").getDeclaredMethod("report");
        report.setAccessible(true);
        report.invoke(null);
        return lines.toString();
    }

    private static String packed(Map<String, byte[]> classes) {
        StringBuilder text = new StringBuilder();
        classes.forEach((name, content) -> text.append(' ').append(name).append(':').append(encoded(content)));
        return text.toString();
    }

    private static String encoded(byte[] content) {
        return Base64.getEncoder().encodeToString(content);
    }

    private static final class CompileError extends Exception {
        private static final long serialVersionUID = 1;

        CompileError(String message) {
            super(message);
        }
    }

    /** A source whose file has the name of its public class, whatever that is. */
    private static final class Source extends SimpleJavaFileObject {
        private final String text;
        private String publicName;

        Source(String text) {
            super(URI.create("string:///Program.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            if (simpleName.endsWith("-info")) { // of a package or a module
                return false;
            }
            publicName = publicName == null ? simpleName : publicName;
            return publicName.equals(simpleName);
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }

    /** Keeps what is compiled, by the classes' names. */
    private static final class Memory extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, byte[]> classes;

        Memory(JavaFileManager files, Map<String, byte[]> classes) {
            super(files);
            this.classes = classes;
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                Location location, String className, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("memory:///" + className.replace('.', '/')), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return new ByteArrayOutputStream() {
                        @Override
                        public void close() {
                            classes.put(className, toByteArray());
                        }
                    };
                }
            };
        }
    }

    /** Finds the class with the last `public static void main(String[])` of the source. */
    private static final class MainFinder extends TreeScanner<Void, String> {
        private static final Pattern ARGUMENTS = Pattern.compile("(java\\.lang\\.)?String(\\[\\]|\\.{3})");

        String main = "-";

        @Override
        public Void visitCompilationUnit(CompilationUnitTree unit, String outer) {
            String packageName = unit.getPackageName() == null ? "" : unit.getPackageName() + ".";
            return super.visitCompilationUnit(unit, packageName);
        }

        @Override
        public Void visitClass(ClassTree type, String outer) {
            String name = outer + type.getSimpleName();
            for (var member : type.getMembers()) {
                if (member instanceof MethodTree && isMain((MethodTree) member)) {
                    main = name;
                }
                scan(member, name + "$");
            }
            return null;
        }

        private static boolean isMain(MethodTree method) {
            var flags = method.getModifiers().getFlags();
            return method.getName().contentEquals("main")
                    && flags.contains(Modifier.STATIC)
                    && flags.contains(Modifier.PUBLIC)
                    && method.getParameters().size() == 1
                    && ARGUMENTS.matcher(method.getParameters().get(0).getType().toString()).matches();
        }
    }
}
