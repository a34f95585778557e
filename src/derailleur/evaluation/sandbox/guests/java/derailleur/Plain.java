package derailleur;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Plain data as JSON text, described in verdicts/plain.py. Only classes of the platform and of javatuples are plain:
 * a class of the program could have an `equals` of its own.
 */
final class Plain {
    private static final int MOST_VALUES = 1_000_000;
    private static final int MOST_DEPTH = 150; // of the 200 that the supervisor reads
    private static final int LONG = 8192; // bits; decimals take quadratic time
    private static final String TUPLES = "org.javatuples.";

    private final StringBuilder text = new StringBuilder();
    private int count;

    private Plain() {}

    static String of(Object value) {
        Plain plain = new Plain();
        plain.add(value, 0);
        return plain.text.toString();
    }

    static String quoted(String content) {
        Plain plain = new Plain();
        plain.addQuoted(content);
        return plain.text.toString();
    }

    static String opaque(String name) {
        Plain plain = new Plain();
        plain.addOpaque(name);
        return plain.text.toString();
    }

    private void add(Object value, int depth) {
        if (++count > MOST_VALUES || depth > MOST_DEPTH) {
            addOpaque("too large or nested too deeply");
        } else if (value == null) {
            text.append("[\"n\"]");
        } else if (value instanceof Boolean) {
            text.append("[\"b\",").append(value).append(']');
        } else if (value instanceof String) {
            addText("s", (String) value);
        } else if (value instanceof Character) {
            addText("C", value.toString());
        } else if (value instanceof Long) {
            addText("L", value.toString());
        } else if (value instanceof Integer) {
            addText("I", value.toString());
        } else if (value instanceof Double) {
            addText("D", value.toString());
        } else if (value instanceof Float) {
            addText("F", value.toString());
        } else {
            addObject(value, value.getClass(), depth);
        }
    }

    private void addObject(Object value, Class<?> type, int depth) {
        String name = type.getName();
        if (type.isArray()) {
            addNamed(type.getSimpleName());
            addArray(value, depth);
            text.append(']');
        } else if (name.startsWith(TUPLES) && value instanceof Iterable) {
            addTuple((Iterable<?>) value, name.substring(TUPLES.length()), depth);
        } else if (type.getClassLoader() != null) {
            addOpaque(name);
        } else if (value instanceof Short || value instanceof Byte) {
            addNamed(type.getSimpleName());
            addText("I", value.toString());
            text.append(']');
        } else if (type == BigInteger.class) {
            addNamed("BigInteger");
            BigInteger integer = (BigInteger) value;
            addText("i", integer.toString(integer.bitLength() > LONG ? 16 : 10));
            text.append(']');
        } else if (type == BigDecimal.class) {
            addNamed("BigDecimal");
            addText("s", value.toString());
            text.append(']');
        } else if (value instanceof Optional) {
            Optional<?> optional = (Optional<?>) value;
            addAll("O", optional.isPresent() ? List.of(optional.get()) : List.of(), depth);
        } else if (value instanceof List) {
            addAll("l", (List<?>) value, depth);
        } else if (value instanceof Set) {
            addAll("S", (Set<?>) value, depth);
        } else if (value instanceof Map) {
            addMap((Map<?, ?>) value, depth);
        } else {
            addOpaque(name);
        }
    }

    private void addArray(Object array, int depth) {
        int length = java.lang.reflect.Array.getLength(array);
        text.append("[\"l\",[");
        for (int index = 0; index < length && count <= MOST_VALUES; index++) {
            text.append(index > 0 ? "," : "");
            add(java.lang.reflect.Array.get(array, index), depth + 1);
        }
        text.append("]]");
    }

    private void addTuple(Iterable<?> tuple, String name, int depth) {
        if (name.equals("KeyValue") || name.equals("LabelValue")) { // equal to no Pair
            addOpaque(name);
        } else {
            addAll("P", tuple, depth);
        }
    }

    private void addAll(String tag, Iterable<?> items, int depth) {
        text.append("[\"").append(tag).append("\",[");
        String separator = "";
        for (Object item : items) {
            if (count > MOST_VALUES) {
                break;
            }
            text.append(separator);
            add(item, depth + 1);
            separator = ",";
        }
        text.append("]]");
    }

    private void addMap(Map<?, ?> map, int depth) {
        text.append("[\"d\",[");
        String separator = "";
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (count > MOST_VALUES) {
                break;
            }
            text.append(separator).append('[');
            add(entry.getKey(), depth + 1);
            text.append(',');
            add(entry.getValue(), depth + 1);
            text.append(']');
            separator = ",";
        }
        text.append("]]");
    }

    private void addNamed(String name) {
        text.append("[\"p\",");
        addQuoted(name);
        text.append(',');
    }

    private void addOpaque(String name) {
        addText("?", name);
    }

    private void addText(String tag, String content) {
        text.append("[\"").append(tag).append("\",");
        addQuoted(content);
        text.append(']');
    }

    private void addQuoted(String content) {
        text.append('"');
        for (int index = 0; index < content.length(); index++) {
            char character = content.charAt(index);
            if (character == '"' || character == '\\') {
                text.append('\\').append(character);
            } else if (character < ' ' || character > '~') {
                text.append("\\u");
                for (int shift = 12; shift >= 0; shift -= 4) {
                    text.append("0123456789abcdef".charAt(character >> shift & 15));
                }
            } else {
                text.append(character);
            }
        }
        text.append('"');
    }
}
