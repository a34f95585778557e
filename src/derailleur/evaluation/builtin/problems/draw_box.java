public static ArrayList<String> drawBox(ArrayList<String> lines) {
    int width = 0;
    for (String line : lines) {
        width = Math.max(width, line.length());
    }
    String edge = "+" + "-".repeat(width + 2) + "+";
    ArrayList<String> box = new ArrayList<>();
    box.add(edge);
    for (String line : lines) {
        box.add("| " + line + " ".repeat(width - line.length()) + " |");
    }
    box.add(edge);
    return box;
}
