public static ArrayList<String> grayCodes(long bits) {
    ArrayList<String> codes = new ArrayList<>();
    if (bits == 0) {
        codes.add("");
        return codes;
    }
    ArrayList<String> shorter = grayCodes(bits - 1);
    for (String code : shorter) {
        codes.add("0" + code);
    }
    Collections.reverse(shorter);
    for (String code : shorter) {
        codes.add("1" + code);
    }
    return codes;
}
