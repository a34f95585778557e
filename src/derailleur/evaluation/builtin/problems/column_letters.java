public static String columnLetters(long number) {
    StringBuilder letters = new StringBuilder();
    while (number > 0) {
        number--;
        letters.insert(0, (char) ('A' + number % 26));
        number /= 26;
    }
    return letters.toString();
}
