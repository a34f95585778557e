public static String maskDigits(String text, long visible) {
    long left = text.chars().filter(Character::isDigit).count() - visible;
    StringBuilder masked = new StringBuilder();
    for (char character : text.toCharArray()) {
        if (Character.isDigit(character)) {
            masked.append(left > 0 ? '*' : character);
            left--;
        } else {
            masked.append(character);
        }
    }
    return masked.toString();
}
