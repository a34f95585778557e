public static HashMap<String,String> queryValues(String address) {
    HashMap<String, String> values = new HashMap<>();
    int start = address.indexOf('?');
    String query = start == -1 ? "" : address.substring(start + 1);
    for (String part : query.split("&")) {
        String[] pieces = part.split("=", 2);
        if (!pieces[0].isEmpty()) {
            values.put(pieces[0], pieces.length > 1 ? pieces[1] : "");
        }
    }
    return values;
}
