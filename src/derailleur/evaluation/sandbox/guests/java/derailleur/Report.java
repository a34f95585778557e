package derailleur;

/**
 * What rewritten tests call in the place of `assert(left == right)` and `assert(left.equals(right))`: hands out
 * the left side, or where there is no program, the right side.
 */
public final class Report {
    private static Channel channel;
    private static StringBuilder lines;

    private Report() {}

    /** Where the lines go that are not for the supervisor. */
    static void to(StringBuilder builder) {
        lines = builder;
    }

    /** Before the first test. */
    public static void begin() {
        Platform.fixChance();
        channel = new Channel();
    }

    /** An operand of `==`. */
    public static void same(boolean value) {
        say(primitive("boolean", value));
    }

    /** An operand of `==`. */
    public static void same(char value) {
        say(primitive("char", value));
    }

    /** An operand of `==`, of a smaller type too. */
    public static void same(int value) {
        say(primitive("int", value));
    }

    /** An operand of `==`. */
    public static void same(long value) {
        say(primitive("long", value));
    }

    /** An operand of `==`. */
    public static void same(float value) {
        say(primitive("float", value));
    }

    /** An operand of `==`. */
    public static void same(double value) {
        say(primitive("double", value));
    }

    /** An operand of `==` that is no primitive. */
    public static void same(Object value) {
        say(Plain.of(value));
    }

    /** The receiver or the argument of `equals`. */
    public static void equal(Object value) {
        say(Plain.of(value));
    }

    /** A primitive has no `equals`. */
    public static void equal(boolean value) {
        say(Plain.opaque("boolean"));
    }

    /** A primitive has no `equals`. */
    public static void equal(char value) {
        say(Plain.opaque("char"));
    }

    /** A primitive has no `equals`. */
    public static void equal(double value) {
        say(Plain.opaque("number"));
    }

    /** After the last test. */
    public static void end() {
        channel.say("[\"end\"]");
        Runtime.getRuntime().halt(0);
    }

    private static String primitive(String type, Object value) {
        return "[\"p\",\"" + type + "\"," + Plain.of(value) + "]";
    }

    private static void say(String plain) {
        String line = "[\"value\"," + plain + "]";
        if (channel == null) {
            lines.append(line).append('\n');
        } else {
            channel.say(line);
        }
    }
}
