public static String ordinal(long number) {
    long tens = number / 10 % 10;
    long ones = number % 10;
    if (tens == 1 || ones == 0 || ones > 3) {
        return number + "th";
    }
    return number + (ones == 1 ? "st" : ones == 2 ? "nd" : "rd");
}
