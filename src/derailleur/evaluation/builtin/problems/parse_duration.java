public static long parseDuration(String text) {
    Map<Character, Long> secondsIn = Map.of('d', 86400L, 'h', 3600L, 'm', 60L, 's', 1L);
    long total = 0;
    long number = 0;
    for (char character : text.toCharArray()) {
        if (Character.isDigit(character)) {
            number = 10 * number + (character - '0');
        } else {
            total += number * secondsIn.get(character);
            number = 0;
        }
    }
    return total;
}
