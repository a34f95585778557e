public static boolean cardIsValid(String card) {
    String digits = new StringBuilder(card.replace(" ", "")).reverse().toString();
    int total = 0;
    for (int place = 0; place < digits.length(); place++) {
        int digit = digits.charAt(place) - '0';
        if (place % 2 == 1) {
            digit = 2 * digit > 9 ? 2 * digit - 9 : 2 * digit;
        }
        total += digit;
    }
    return !digits.isEmpty() && total % 10 == 0;
}
