public static ArrayList<String> wrapWords(String text, long width) {
    ArrayList<String> lines = new ArrayList<>();
    for (String word : text.split(" ")) {
        int last = lines.size() - 1;
        if (last >= 0 && lines.get(last).length() + 1 + word.length() <= width) {
            lines.set(last, lines.get(last) + " " + word);
        } else if (!word.isEmpty()) {
            lines.add(word);
        }
    }
    return lines;
}
