package derailleur;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;

/**
 * Runs a program with its tests: the `main` of the class that is named. Shows the secret that it was given before
 * the program was loaded when `main` has returned, and never otherwise.
 */
final class Joined {
    private Joined() {}

    public static void main(String[] arguments) throws ReflectiveOperationException {
        Channel channel = new Channel();
        channel.say("[\"ready\"]");
        String token = channel.hear();
        Platform.fixChance();
        Throwable thrown = null;
        try {
            Class<?> program = Class.forName(arguments[0]);
            Method main = program.getDeclaredMethod("main", String[].class);
            main.setAccessible(true);
            main.invoke(null, (Object) new String[0]);
        } catch (InvocationTargetException error) {
            thrown = error.getCause();
        } catch (ExceptionInInitializerError error) {
            thrown = error;
        }
        if (thrown == null) {
            channel.say("[\"passed\"," + token + "]");
        } else {
            thrown.printStackTrace();
            String kind = thrown instanceof AssertionError ? "wrong" : "runtime";
            channel.say("[\"error\",\"" + kind + "\"," + Plain.quoted(thrown.toString()) + "]");
        }
        Runtime.getRuntime().halt(thrown == null ? 0 : 1);
    }
}
