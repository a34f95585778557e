public static String readColumns(String message, long width) {
    StringBuilder text = new StringBuilder();
    for (int column = 0; column < width; column++) {
        for (int place = column; place < message.length(); place += width) {
            text.append(message.charAt(place));
        }
    }
    return text.toString();
}
