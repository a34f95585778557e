public static Optional<String> aloneInRoom(ArrayList<String> log) {
    HashSet<String> inside = new HashSet<>();
    for (String entry : log) {
        String name = entry.substring(1);
        if (entry.startsWith("+")) {
            inside.add(name);
        } else {
            inside.remove(name);
        }
    }
    return inside.size() == 1 ? inside.stream().findFirst() : Optional.empty();
}
