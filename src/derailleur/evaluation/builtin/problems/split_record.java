public static ArrayList<String> splitRecord(String line) {
    ArrayList<String> fields = new ArrayList<>();
    StringBuilder field = new StringBuilder();
    boolean isQuoted = false;
    for (int place = 0; place < line.length(); place++) {
        char character = line.charAt(place);
        boolean isDoubled = place + 1 < line.length() && line.charAt(place + 1) == '"';
        if (character == '"' && isQuoted && isDoubled) {
            field.append('"');
            place++;
        } else if (character == '"') {
            isQuoted = !isQuoted;
        } else if (character == ',' && !isQuoted) {
            fields.add(field.toString());
            field.setLength(0);
        } else {
            field.append(character);
        }
    }
    fields.add(field.toString());
    return fields;
}
