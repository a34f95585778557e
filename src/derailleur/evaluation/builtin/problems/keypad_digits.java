public static String keypadDigits(String word) {
    String keys = "22233344455566677778889999";
    StringBuilder digits = new StringBuilder();
    for (char character : word.toLowerCase().toCharArray()) {
        boolean isLetter = 'a' <= character && character <= 'z';
        digits.append(isLetter ? keys.charAt(character - 'a') : character);
    }
    return digits.toString();
}
