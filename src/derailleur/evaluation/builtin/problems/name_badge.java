public static String nameBadge(String name) {
    String[] words = name.toUpperCase().split(" ");
    StringBuilder badge = new StringBuilder();
    for (int place = 0; place < words.length - 1; place++) {
        badge.append(words[place].charAt(0)).append(". ");
    }
    return badge + words[words.length - 1];
}
